/* kevent_min: at least so many events; cancellation. */
#include "check.h"

static void at_least_two(int kq)
{
	int first[2], second[2];
	struct kevent events[4];

	pair(first);
	pair(second);
	CHECK(change(kq, first[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	CHECK(change(kq, second[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	CHECK(write(first[1], "x", 1) == 1);
	/* One is ready: it is not counted twice, but is there when the time is over. */
	CHECK(kevent_min(kq, NULL, 0, events, 4, 2, &now, 0) == 1);
	CHECK(events[0].ident == (uintptr_t)first[0]);
	CHECK(write(second[1], "x", 1) == 1);
	CHECK(kevent_min(kq, NULL, 0, events, 4, 2, NULL, 0) == 2);
	CHECK(kevent_min(kq, NULL, 0, events, 4, 3, NULL, KEVENT_FLAG_IMMEDIATE) == 2);
	/* A moment that is over. */
	CHECK(kevent_min(kq, NULL, 0, events, 4, 3, &now, KEVENT_FLAG_ABSTIME) == 2);
	FAILS(kevent_min(kq, NULL, 0, events, 4, 5, &now, 0), EINVAL);
	FAILS(kevent_min(kq, NULL, 0, events, 4, 2, &now, 2), EINVAL);
	FAILS(kevent_min(first[0], NULL, 0, events, 4, 2, &now, 0), EBADF);
	FAILS(kevent_min(kq, NULL, 0, (struct kevent *)8, 4, 2, &now, 0), EFAULT);
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 2000; fd++)
		n += fcntl(fd, F_GETFD) != -1;
	return n;
}

static void *sleeper(void *kq)
{
	struct kevent events[4];

	/* More than there ever will be. */
	kevent_min(*(int *)kq, NULL, 0, events, 4, 4, NULL, 0);
	return NULL;
}

static void cancelled(int kq)
{
	pthread_t thread;
	void *result;
	int before = open_descriptors();

	CHECK(pthread_create(&thread, NULL, sleeper, &kq) == 0);
	nap(20);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	CHECK(result == PTHREAD_CANCELED);
	/* Nothing is left locked, or open. */
	CHECK(ready(kq, NULL) == 2);
	CHECK(open_descriptors() == before);
}

int main(void)
{
	int kq = kqueue();

	CHECK(kq >= 0);
	at_least_two(kq);
	cancelled(kq);
	return 0;
}
