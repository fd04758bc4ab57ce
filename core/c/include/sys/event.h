/*
 * kqueue(2) for Linux: FreeBSD's names, values and layout.
 *
 *   cc -I<prefix>/include program.c -lkqcompat_kqueue
 */
#ifndef KQCOMPAT_SYS_EVENT_H
#define KQCOMPAT_SYS_EVENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Filters. */
#define EVFILT_READ	(-1)	/* something to read */
#define EVFILT_WRITE	(-2)	/* room to write */
#define EVFILT_AIO	(-3)	/* an asynchronous request is complete */
#define EVFILT_VNODE	(-4)	/* something happened to a file */
#define EVFILT_PROC	(-5)	/* something happened to a process */
#define EVFILT_SIGNAL	(-6)	/* a signal came in */
#define EVFILT_TIMER	(-7)	/* time is over */
#define EVFILT_PROCDESC	(-8)	/* as PROC, by process descriptor */
#define EVFILT_FS	(-9)	/* a file system was mounted or unmounted */
#define EVFILT_LIO	(-10)	/* a list of requests is complete */
#define EVFILT_USER	(-11)	/* the program itself said so */
#define EVFILT_EMPTY	(-13)	/* a send buffer has drained */
#define EVFILT_EXCEPT	(-32)	/* out-of-band data; a number of ours */
#define EVFILT_SYSCOUNT	13

/* Each argument is evaluated once, and before *kevp changes. */
#define EV_SET(kevp, a, b, c, d, e, f) do {			\
	struct kevent ev_set_ = {				\
	    (uintptr_t)(a), (short)(b), (unsigned short)(c),	\
	    (unsigned int)(d), (int64_t)(e), (void *)(f),	\
	    { 0, 0, 0, 0 } };					\
	*(kevp) = ev_set_;					\
} while (0)

struct kevent {
	uintptr_t	ident;		/* what is watched */
	short		filter;		/* by which filter */
	unsigned short	flags;
	unsigned int	fflags;		/* the filter's own flags */
	int64_t		data;		/* the filter's own number */
	void		*udata;		/* the program's own value */
	uint64_t	ext[4];
};

/* Actions. */
#define EV_ADD		0x0001
#define EV_DELETE	0x0002
#define EV_ENABLE	0x0004
#define EV_DISABLE	0x0008
#define EV_FORCEONESHOT	0x0100
#define EV_KEEPUDATA	0x0200
#define EV_WAKEONE	0x0400	/* one of several queues is told; ours */
#define EV_LASTCHECK	0x0800	/* tested again when handed out; ours */

/* Flags. */
#define EV_ONESHOT	0x0010
#define EV_CLEAR	0x0020
#define EV_RECEIPT	0x0040
#define EV_DISPATCH	0x0080
#define EV_SYSFLAGS	0xF000
#define EV_DROP		0x1000
#define EV_FLAG1	0x2000
#define EV_FLAG2	0x4000

/* Returned. */
#define EV_EOF		0x8000
#define EV_ERROR	0x4000

/* USER: flags to combine, and how. */
#define NOTE_FFNOP	0x00000000U
#define NOTE_FFAND	0x40000000U
#define NOTE_FFOR	0x80000000U
#define NOTE_FFCOPY	0xC0000000U
#define NOTE_FFCTRLMASK	0xC0000000U
#define NOTE_FFLAGSMASK	0x00FFFFFFU
#define NOTE_TRIGGER	0x01000000U

/* READ, WRITE, EXCEPT. */
#define NOTE_LOWAT	0x0001
#define NOTE_FILE_POLL	0x0002
#define NOTE_NODATA	0x00010000	/* data is not wanted: saves asking; ours */
#define NOTE_OOB	0x0002

/* VNODE. */
#define NOTE_DELETE	0x0001
#define NOTE_WRITE	0x0002
#define NOTE_EXTEND	0x0004
#define NOTE_ATTRIB	0x0008
#define NOTE_LINK	0x0010
#define NOTE_RENAME	0x0020
#define NOTE_REVOKE	0x0040
#define NOTE_OPEN	0x0080
#define NOTE_CLOSE	0x0100
#define NOTE_CLOSE_WRITE 0x0200
#define NOTE_READ	0x0400
#define NOTE_CREATE	0x00010000	/* an entry of a directory; ours */
#define NOTE_REMOVE	0x00020000	/* kevent_entry() tells the names */

/* EVFILT_FS; FreeBSD has them in <sys/mount.h>. */
#ifndef VQ_MOUNT
#define VQ_MOUNT	0x0008
#define VQ_UNMOUNT	0x0010
#endif

/* PROC, PROCDESC. */
#define NOTE_EXIT	0x80000000U
#define NOTE_FORK	0x40000000U
#define NOTE_EXEC	0x20000000U
#define NOTE_PCTRLMASK	0xF0000000U
#define NOTE_PDATAMASK	0x000FFFFFU
#define NOTE_TRACK	0x00000001U
#define NOTE_TRACKERR	0x00000002U
#define NOTE_CHILD	0x00000004U

/* TIMER. */
#define NOTE_SECONDS	0x00000001
#define NOTE_MSECONDS	0x00000002
#define NOTE_USECONDS	0x00000004
#define NOTE_NSECONDS	0x00000008
#define NOTE_ABSTIME	0x00000010

/* kqueuex. */
#define KQUEUE_CLOEXEC	0x00000001

#ifdef __cplusplus
extern "C" {
#endif

int	kqueue(void);
int	kqueue1(int flags);	/* O_CLOEXEC, O_NONBLOCK (NetBSD) */
int	kqueuex(unsigned int flags);	/* KQUEUE_CLOEXEC (FreeBSD) */
int	kevent(int kq, const struct kevent *changelist, int nchanges,
	    struct kevent *eventlist, int nevents,
	    const struct timespec *timeout);

/*
 * Ours: as kevent(), but waits until there are at least min events, or the
 * time is over.
 */
#define KEVENT_FLAG_IMMEDIATE	0x00000001	/* do not wait */
#define KEVENT_FLAG_ABSTIME	0x00010000	/* timeout: of CLOCK_MONOTONIC */
int	kevent_min(int kq, const struct kevent *changelist, int nchanges,
	    struct kevent *eventlist, int nevents, int min,
	    const struct timespec *timeout, unsigned int flags);

/*
 * Ours: takes the next name that the VNODE knote of a directory has gathered
 * (NOTE_CREATE, NOTE_REMOVE): 1, 0 where there is none, or -1.
 */
struct kevent_entry {
	unsigned int	fflags;	/* NOTE_CREATE or NOTE_REMOVE, NOTE_RENAME with them;
				   0: names were lost, read the directory */
	char		name[256];
};
int	kevent_entry(int kq, int fd, struct kevent_entry *entry);

/*
 * Ours: a ring of events in memory, one a queue. kevent_ring_wait() moves events
 * into it, any number of threads take them without a system call. Unread events
 * are never overwritten: the rest stays in the queue. What was read and not
 * committed is left to the next reader.
 */
struct kevent_ring;

struct kevent_ring *kevent_ring_open(int kq, unsigned int capacity);
void	kevent_ring_close(struct kevent_ring *ring);
int	kevent_ring_wait(const struct kevent_ring *ring,
	    const struct timespec *timeout);
int	kevent_ring_fill(const struct kevent_ring *ring);
int	kevent_ring_read(const struct kevent_ring *ring,
	    struct kevent *eventlist, int nevents, uint64_t *position);
int	kevent_ring_commit(const struct kevent_ring *ring, uint64_t position,
	    int n);	/* EAGAIN: another thread was first */
int	kevent_ring_take(const struct kevent_ring *ring,
	    struct kevent *eventlist, int nevents);	/* reads and commits */
uint64_t kevent_ring_overflows(const struct kevent_ring *ring);

#ifdef __cplusplus
}
#endif

#endif /* !KQCOMPAT_SYS_EVENT_H */
