/* The headers stand alone, and their names, values and layout are FreeBSD's. */
#include <sys/event.h>
#include <aio.h>

#ifdef __cplusplus
#define SAME(a, b) static_assert((a) == (b), #a)
#else
#define SAME(a, b) _Static_assert((a) == (b), #a)
#endif

SAME(sizeof(struct kevent), 64);
SAME(offsetof(struct kevent, ident), 0);
SAME(offsetof(struct kevent, filter), 8);
SAME(offsetof(struct kevent, flags), 10);
SAME(offsetof(struct kevent, fflags), 12);
SAME(offsetof(struct kevent, data), 16);
SAME(offsetof(struct kevent, udata), 24);
SAME(offsetof(struct kevent, ext), 32);

SAME(EVFILT_READ, -1);
SAME(EVFILT_WRITE, -2);
SAME(EVFILT_AIO, -3);
SAME(EVFILT_VNODE, -4);
SAME(EVFILT_PROC, -5);
SAME(EVFILT_SIGNAL, -6);
SAME(EVFILT_TIMER, -7);
SAME(EVFILT_PROCDESC, -8);
SAME(EVFILT_FS, -9);
SAME(EVFILT_LIO, -10);
SAME(EVFILT_USER, -11);
SAME(EVFILT_EMPTY, -13);
SAME(EVFILT_SYSCOUNT, 13);

SAME(EV_ADD, 0x1);
SAME(EV_DELETE, 0x2);
SAME(EV_ENABLE, 0x4);
SAME(EV_DISABLE, 0x8);
SAME(EV_FORCEONESHOT, 0x100);
SAME(EV_KEEPUDATA, 0x200);
SAME(EV_ONESHOT, 0x10);
SAME(EV_CLEAR, 0x20);
SAME(EV_RECEIPT, 0x40);
SAME(EV_DISPATCH, 0x80);
SAME(EV_SYSFLAGS, 0xF000);
SAME(EV_DROP, 0x1000);
SAME(EV_FLAG1, 0x2000);
SAME(EV_FLAG2, 0x4000);
SAME(EV_EOF, 0x8000);
SAME(EV_ERROR, 0x4000);

SAME(NOTE_FFNOP, 0U);
SAME(NOTE_FFAND, 0x40000000U);
SAME(NOTE_FFOR, 0x80000000U);
SAME(NOTE_FFCOPY, 0xc0000000U);
SAME(NOTE_FFCTRLMASK, 0xc0000000U);
SAME(NOTE_FFLAGSMASK, 0x00ffffffU);
SAME(NOTE_TRIGGER, 0x01000000U);
SAME(NOTE_LOWAT, 0x1);
SAME(NOTE_FILE_POLL, 0x2);
SAME(NOTE_DELETE, 0x1);
SAME(NOTE_WRITE, 0x2);
SAME(NOTE_EXTEND, 0x4);
SAME(NOTE_ATTRIB, 0x8);
SAME(NOTE_LINK, 0x10);
SAME(NOTE_RENAME, 0x20);
SAME(NOTE_REVOKE, 0x40);
SAME(NOTE_OPEN, 0x80);
SAME(NOTE_CLOSE, 0x100);
SAME(NOTE_CLOSE_WRITE, 0x200);
SAME(NOTE_READ, 0x400);
SAME(NOTE_EXIT, 0x80000000U);
SAME(NOTE_FORK, 0x40000000U);
SAME(NOTE_EXEC, 0x20000000U);
SAME(NOTE_PCTRLMASK, 0xf0000000U);
SAME(NOTE_PDATAMASK, 0x000fffffU);
SAME(NOTE_TRACK, 1U);
SAME(NOTE_TRACKERR, 2U);
SAME(NOTE_CHILD, 4U);
SAME(NOTE_SECONDS, 1);
SAME(NOTE_MSECONDS, 2);
SAME(NOTE_USECONDS, 4);
SAME(NOTE_NSECONDS, 8);
SAME(NOTE_ABSTIME, 0x10);
SAME(KQUEUE_CLOEXEC, 1);

/* <aio.h> is ours, and has FreeBSD's values. */
SAME(SIGEV_KEVENT, 3);
SAME(AIO_CANCELED, 1);
SAME(AIO_NOTCANCELED, 2);
SAME(AIO_ALLDONE, 3);
SAME(LIO_NOP, 0);
SAME(LIO_WRITE, 1);
SAME(LIO_READ, 2);
SAME(LIO_NOWAIT, 0);
SAME(LIO_WAIT, 1);

int main(void)
{
	struct kevent kev, old;
	struct timespec zero = { 0, 0 };
	int kq = kqueue(), one = 1;

	/* Arguments are evaluated once, and before the struct changes. */
	EV_SET(&kev, 7, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 8, &kev);
	EV_SET(&kev, kev.data, kev.filter, kev.flags, one++, kev.ident, kev.udata);
	if (kev.ident != 8 || kev.data != 7 || kev.udata != &kev || one != 2 ||
	    kev.filter != EVFILT_TIMER || kev.ext[3] != 0)
		return 1;
	EV_SET(&old, kq, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, NULL);
	return kevent(kq, &old, 1, &kev, 1, &zero) == 1 && kev.ident == (uintptr_t)kq ? 0 : 1;
}
