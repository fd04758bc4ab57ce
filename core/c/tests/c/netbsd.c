/*
 * kqueue and kevent with NetBSD's struct and numbers, over the ones that are loaded next: what
 * `cargo xtask native` puts beneath core's native side for the layout "netbsd". As there, no WRITE
 * knote can be added to a pipe that nobody reads: EBADF.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <sys/event.h>
#include <sys/stat.h>

struct netbsd_kevent {
	uintptr_t ident;
	uint32_t filter, flags, fflags;
	int64_t data;
	void *udata;
};

/* By NetBSD's numbers. */
static const short filters[] = { EVFILT_READ, EVFILT_WRITE, EVFILT_AIO, EVFILT_VNODE, EVFILT_PROC,
	EVFILT_SIGNAL, EVFILT_TIMER, EVFILT_FS, EVFILT_USER, EVFILT_EMPTY };
static const unsigned units[] = { NOTE_MSECONDS, NOTE_SECONDS, NOTE_USECONDS, NOTE_NSECONDS };
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef int kevent_function(int, const struct kevent *, int, struct kevent *, int,
    const struct timespec *);

/* No descriptor: EBADF. */
#define REFUSED ((uintptr_t)-1)

static int is_refused(const struct kevent *change)
{
	struct pollfd end = { .fd = (int)change->ident };
	struct stat stat;
	return change->filter == EVFILT_WRITE && (change->flags & EV_ADD) && fstat(end.fd, &stat) == 0
	    && S_ISFIFO(stat.st_mode) && poll(&end, 1, 0) == 1 && (end.revents & POLLERR);
}

static struct kevent ours(const struct netbsd_kevent *there)
{
	struct kevent here = { .ident = there->ident, .flags = (unsigned short)there->flags,
		.fflags = there->fflags, .data = there->data, .udata = there->udata };
	/* An unknown one is unknown here too. */
	here.filter = there->filter < COUNT(filters) ? filters[there->filter] : -99;
	if (here.filter == EVFILT_TIMER)
		here.fflags = units[there->fflags & 3] | (there->fflags & NOTE_ABSTIME);
	return here;
}

static struct netbsd_kevent theirs(const struct kevent *here)
{
	struct netbsd_kevent there = { .ident = here->ident, .flags = here->flags,
		.fflags = here->fflags, .data = here->data, .udata = here->udata };
	while (there.filter < COUNT(filters) && filters[there.filter] != here->filter)
		there.filter++;
	return there;
}

__attribute__((visibility("default"))) int kqueue(void)
{
	int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "kqueue");
	return next();
}

/* Of a program that was not compiled against our header. */
__attribute__((visibility("default"))) int netbsd_kevent(int kq,
    const struct netbsd_kevent *changes, size_t nchanges, struct netbsd_kevent *events,
    size_t nevents, const struct timespec *timeout) __asm__("kevent");

int netbsd_kevent(int kq, const struct netbsd_kevent *changes, size_t nchanges,
    struct netbsd_kevent *events, size_t nevents, const struct timespec *timeout)
{
	kevent_function *next = (kevent_function *)dlsym(RTLD_NEXT, "kevent");
	struct kevent *in = calloc(nchanges + 1, sizeof *in);
	struct kevent *out = calloc(nevents + 1, sizeof *out);
	for (size_t i = 0; i < nchanges; i++) {
		in[i] = ours(&changes[i]);
		if (is_refused(&in[i]))
			in[i].ident = REFUSED;
	}
	int n = next(kq, in, (int)nchanges, out, (int)nevents, timeout);
	/* Answers come in the order of the changes. */
	size_t change = 0;
	for (int i = 0; i < n; i++) {
		events[i] = theirs(&out[i]);
		if (events[i].ident != REFUSED)
			continue;
		while (change < nchanges && in[change].ident != REFUSED)
			change++;
		if (change < nchanges)
			events[i].ident = changes[change++].ident;
	}
	free(in);
	free(out);
	return n;
}
