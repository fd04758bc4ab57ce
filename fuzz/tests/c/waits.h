/* What the programs share: a set of pipes, and each call that waits for it. A program that fails says
 * where, and ends with 1. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/event.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

/* How often: the environment's KQCOMPAT_CASES, or as usual. Only what is usual is to end in time. */
static inline long cases(long usual)
{
	const char *asked = getenv("KQCOMPAT_CASES");

	if (asked == NULL)
		alarm(100);
	return asked == NULL ? usual : atol(asked);
}

/* Enough to be served from a queue. */
#define PIPES 24

struct set {
	int fds[PIPES][2];
	int ep, kq;
	/* poll and select know a set by its place. */
	struct pollfd polled[PIPES];
	fd_set selected;
};

enum how { POLL, PPOLL, SELECT, PSELECT, EPOLL_WAIT, EPOLL_PWAIT, KEVENT, HOWS };

static inline void make_queues(struct set *set)
{
	CHECK((set->ep = epoll_create1(EPOLL_CLOEXEC)) >= 0);
	CHECK((set->kq = kqueue()) >= 0);
	for (int i = 0; i < PIPES; i++) {
		struct epoll_event event = { EPOLLIN, { .u32 = (unsigned)i } };
		struct kevent kev;

		CHECK(epoll_ctl(set->ep, EPOLL_CTL_ADD, set->fds[i][0], &event) == 0);
		EV_SET(&kev, (uintptr_t)set->fds[i][0], EVFILT_READ, EV_ADD, 0, 0, (void *)(intptr_t)i);
		CHECK(kevent(set->kq, &kev, 1, NULL, 0, NULL) == 0);
	}
}

static inline void make_set(struct set *set)
{
	for (int i = 0; i < PIPES; i++) {
		CHECK(pipe2(set->fds[i], O_CLOEXEC | O_NONBLOCK) == 0);
		CHECK(set->fds[i][1] < FD_SETSIZE);
	}
	make_queues(set);
}

static inline void close_set(struct set *set)
{
	for (int i = 0; i < PIPES; i++)
		CHECK(close(set->fds[i][0]) == 0 && close(set->fds[i][1]) == 0);
	CHECK(close(set->ep) == 0 && close(set->kq) == 0);
}

/* Waits, for so many milliseconds or (-1) for ever, with a mask if there is one and the call takes
 * it. Says which pipes are ready; -1 and errno as the call says. */
static inline int wait_by(struct set *set, enum how how, int ms, const sigset_t *mask, char ready[PIPES])
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 }, *most = ms < 0 ? NULL : &time;
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	struct epoll_event events[PIPES];
	struct kevent kevs[PIPES];
	int n, highest = 0;

	memset(ready, 0, PIPES);
	for (int i = 0; i < PIPES; i++) {
		set->polled[i] = (struct pollfd){ set->fds[i][0], POLLIN, 0 };
		if (set->fds[i][0] > highest)
			highest = set->fds[i][0];
	}
	FD_ZERO(&set->selected);
	for (int i = 0; i < PIPES; i++)
		FD_SET(set->fds[i][0], &set->selected);
	switch (how) {
	case POLL:
		n = poll(set->polled, PIPES, ms);
		break;
	case PPOLL:
		n = ppoll(set->polled, PIPES, most, mask);
		break;
	case SELECT:
		n = select(highest + 1, &set->selected, NULL, NULL, ms < 0 ? NULL : &tv);
		break;
	case PSELECT:
		n = pselect(highest + 1, &set->selected, NULL, NULL, most, mask);
		break;
	case EPOLL_WAIT:
		n = epoll_wait(set->ep, events, PIPES, ms);
		break;
	case EPOLL_PWAIT:
		n = epoll_pwait(set->ep, events, PIPES, ms, mask);
		break;
	default:
		n = kevent(set->kq, NULL, 0, kevs, PIPES, most);
	}
	for (int i = 0; i < PIPES && n > 0; i++) {
		if (how == POLL || how == PPOLL)
			ready[i] = set->polled[i].revents != 0;
		else if (how == SELECT || how == PSELECT)
			ready[i] = FD_ISSET(set->fds[i][0], &set->selected) != 0;
		else if (i < n && how == KEVENT)
			ready[(intptr_t)kevs[i].udata] = 1;
		else if (i < n)
			ready[events[i].data.u32] = 1;
	}
	if (n > 0) {
		int found = 0;

		for (int i = 0; i < PIPES; i++)
			found += ready[i];
		CHECK(found == n);
	}
	return n;
}

/* Reads all that is there. */
static inline long drain(int fd)
{
	char bytes[4096];
	long all = 0, n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		all += n;
	CHECK(n == -1 && errno == EAGAIN);
	return all;
}

/* That each call works, on a set that is asked about again and again. */
static inline void works(struct set *set)
{
	char ready[PIPES];

	for (enum how how = POLL; how < HOWS; how++) {
		for (int round = 0; round < 40; round++) {
			int at = round % PIPES;

			CHECK(wait_by(set, how, 0, NULL, ready) == 0);
			CHECK(write(set->fds[at][1], "x", 1) == 1);
			CHECK(wait_by(set, how, -1, NULL, ready) == 1 && ready[at]);
			CHECK(drain(set->fds[at][0]) == 1);
		}
		CHECK(wait_by(set, how, 1, NULL, ready) == 0);
	}
}

/* How many descriptors are open, but those of the listing. */
static inline int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	CHECK(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3;
}
