/* What the test programs share. A program that fails says where, and ends with 1. */
#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do {						\
	if (!(what)) {							\
		fprintf(stderr, "%s:%d: %s (errno %d, %s)\n", __FILE__,	\
		    __LINE__, #what, errno, strerror(errno));		\
		_exit(1);						\
	}								\
} while (0)

/* A call that fails with an errno. */
#define FAILS(what, error) do {						\
	errno = 0;							\
	CHECK((what) == -1 && errno == (error));			\
} while (0)

static const struct timespec now = { 0, 0 };
/* Only a failing test waits so long. */
static const struct timespec long_time = { 20, 0 };

static inline int change(int kq, uintptr_t ident, short filter,
    unsigned short flags, unsigned int fflags, int64_t data)
{
	struct kevent kev;

	EV_SET(&kev, ident, filter, flags, fflags, data, 0);
	return kevent(kq, &kev, 1, NULL, 0, NULL);
}

/* How many events there are now; the first goes to *kev. */
static inline int ready(int kq, struct kevent *kev)
{
	struct kevent events[16];
	int n = kevent(kq, NULL, 0, events, 16, &now);

	CHECK(n >= 0);
	if (kev != NULL)
		*kev = events[0];
	return n;
}

static inline void pair(int fds[2])
{
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
}

static inline void nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}
