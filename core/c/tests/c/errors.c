/* What kevent() says to bad arguments, and that it leaves errno alone otherwise. */
#include "check.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/eventfd.h>

static void bad_pointers(int kq)
{
	struct kevent *bad = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kevent *constant = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kevent *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kevent kev;

	CHECK(bad != MAP_FAILED && constant != MAP_FAILED && edge != MAP_FAILED);
	CHECK(munmap((char *)edge + 4096, 4096) == 0);
	edge += 4096 / sizeof(*edge) - 1;

	FAILS(kevent(kq, bad, 1, NULL, 0, NULL), EFAULT);
	FAILS(kevent(kq, NULL, 1, NULL, 0, NULL), EFAULT);
	FAILS(kevent(kq, (struct kevent *)8, 1, NULL, 0, NULL), EFAULT);
	FAILS(kevent(kq, NULL, 0, bad, 1, &now), EFAULT);
	FAILS(kevent(kq, NULL, 0, constant, 1, &now), EFAULT);
	FAILS(kevent(kq, NULL, 0, NULL, 1, &now), EFAULT);
	FAILS(kevent(kq, NULL, 0, &kev, 1, (const struct timespec *)bad), EFAULT);
	FAILS(kevent(kq, NULL, 0, &kev, 1, (const struct timespec *)8), EFAULT);
	/* The last struct before a hole is good, one more is not. */
	EV_SET(edge, 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, 0);
	CHECK(kevent(kq, edge, 1, edge, 1, &now) == 1);
	FAILS(kevent(kq, edge, 2, NULL, 0, NULL), EFAULT);
	/* Nothing was lost. */
	CHECK(ready(kq, &kev) == 1 && kev.ident == 1);
	CHECK(change(kq, 1, EVFILT_USER, EV_DELETE, 0, 0) == 0);
	/* Nothing is looked at where nothing is asked for. */
	CHECK(kevent(kq, bad, 0, bad, 0, NULL) == 0);
}

static void bad_numbers(int kq)
{
	struct kevent kev;
	struct timespec bad[] = { { -1, 0 }, { 0, -1 }, { 0, 1000000000 }, { 5, -5 } };
	int fds[2];

	pair(fds);
	FAILS(kevent(kq, &kev, -1, NULL, 0, NULL), EINVAL);
	FAILS(kevent(kq, NULL, 0, &kev, -1, &now), EINVAL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		FAILS(kevent(kq, NULL, 0, &kev, 1, &bad[i]), EINVAL);
	FAILS(kevent(-1, NULL, 0, &kev, 1, &now), EBADF);
	FAILS(kevent(999, NULL, 0, &kev, 1, &now), EBADF);
	FAILS(kevent(fds[0], NULL, 0, &kev, 1, &now), EBADF);
	FAILS(kqueue1(~0), EINVAL);
	FAILS(kqueuex(2), EINVAL);
	FAILS(change(kq, 1, 0x77, EV_ADD, 0, 0), EINVAL);
	FAILS(change(kq, 999, EVFILT_READ, EV_ADD, 0, 0), EBADF);
	FAILS(change(kq, (uintptr_t)1 << 40, EVFILT_READ, EV_ADD, 0, 0), EBADF);
	FAILS(change(kq, fds[0], EVFILT_READ, EV_DELETE, 0, 0), ENOENT);
	FAILS(change(kq, kq, EVFILT_READ, EV_ADD, 0, 0), EINVAL);
	CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
}

static void errno_stays(int kq)
{
	struct kevent kev;

	errno = 4711;
	CHECK(change(kq, 1, EVFILT_USER, EV_ADD | EV_ONESHOT, NOTE_TRIGGER, 0) == 0);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &now) == 0);
	CHECK(close(kqueue()) == 0 && errno == 4711);
}

/* More than one batch of the engine's, in one call. */
static void many(int kq)
{
	enum { N = 800 };
	static struct kevent list[N];
	struct rlimit limit;

	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = limit.rlim_max;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	for (int i = 0; i < N; i++) {
		int fd = eventfd(1, EFD_CLOEXEC);

		CHECK(fd >= 0);
		EV_SET(&list[i], fd, EVFILT_READ, EV_ADD, 0, 0, &list[i]);
	}
	/* Changes and events in one memory. */
	CHECK(kevent(kq, list, N, list, N, &long_time) == N);
	for (int i = 0; i < N; i++) {
		struct kevent *its = list[i].udata;

		CHECK(list[i].filter == EVFILT_READ && list[i].data == 1);
		CHECK(its >= list && its < list + N);
		CHECK(close((int)list[i].ident) == 0);
	}
	CHECK(ready(kq, NULL) == 0);
}

int main(void)
{
	int kq = kqueue();

	CHECK(kq >= 0);
	bad_pointers(kq);
	bad_numbers(kq);
	errno_stays(kq);
	many(kq);
	return 0;
}
