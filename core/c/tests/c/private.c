/* A queue that KQCOMPAT_PRIVATE makes private, or not. */
#include "check.h"

#include <poll.h>

/* Whether a trigger shows at the queue's descriptor, which a private queue does not see to. */
static int shows(int kq)
{
	struct pollfd p = { kq, POLLIN, 0 };

	CHECK(change(kq, 1, EVFILT_USER, 0, NOTE_TRIGGER, 0) == 0);
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents != 0;
}

int main(int argc, char **argv)
{
	int kq = kqueue(), fds[2], other[2], private;
	struct kevent kev;

	CHECK(argc == 2 && kq >= 0);
	private = strcmp(argv[1], "1") == 0;
	CHECK(change(kq, 1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0) == 0);
	CHECK(shows(kq) == !private);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1 && kev.ident == 1);

	/* Enabling a knote whose number was closed and taken again is told at once: closes are hooked. */
	pair(fds);
	pair(other);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD | EV_DISPATCH, 0, 0) == 0);
	for (int i = 0; i < 3; i++) {
		CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1);
		CHECK(kev.ident == (uintptr_t)fds[0] && ready(kq, NULL) == 0);
		CHECK(change(kq, fds[0], EVFILT_READ, EV_ENABLE, 0, 0) == 0);
	}
	CHECK(dup2(other[0], fds[0]) == fds[0]);
	FAILS(change(kq, fds[0], EVFILT_READ, EV_ENABLE, 0, 0), ENOENT);
	CHECK(ready(kq, NULL) == 0);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	CHECK(write(other[1], "x", 1) == 1 && ready(kq, NULL) == 1);
	return 0;
}
