/*
 * aio(4) for Linux, as FreeBSD has it: requests whose completion is an event of a kqueue.
 *
 * It takes the place of the system's <aio.h> for whoever has this directory before the system's. The
 * functions have symbols of their own, so that libc's aio_read stays what it is for everybody else.
 */
#ifndef KQCOMPAT_AIO_H
#define KQCOMPAT_AIO_H
#define _AIO_H 1	/* glibc's and musl's own */

#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

/* FreeBSD has these in <signal.h>, whose struct sigevent has a place for each. */
#ifndef SIGEV_KEVENT
#define SIGEV_KEVENT	3
#endif
#define sigev_notify_kqueue	sigev_signo
#ifdef __GLIBC__
#define sigev_notify_kevent_flags _sigev_un._tid
#else
#define sigev_notify_kevent_flags __sev_fields.sigev_notify_thread_id
#endif

/* aio_cancel. */
#define AIO_CANCELED	1
#define AIO_NOTCANCELED	2
#define AIO_ALLDONE	3

/* lio_listio: what to do, and whether to wait. */
#define LIO_NOP		0
#define LIO_WRITE	1
#define LIO_READ	2
#define LIO_NOWAIT	0
#define LIO_WAIT	1

#define AIO_LISTIO_MAX	4096

typedef struct aiocb {
	int		aio_fildes;
	off_t		aio_offset;	/* in bytes; of no meaning for a pipe or socket */
	volatile void	*aio_buf;
	size_t		aio_nbytes;
	int		_aio_spare[2];
	void		*_aio_spare2;
	int		aio_lio_opcode;
	int		aio_reqprio;	/* not looked at */
	struct {
		long	status;
		long	error;
		void	*spare;
	}		_aio_private;
	struct sigevent	aio_sigevent;	/* SIGEV_KEVENT, SIGEV_NONE, or all zero */
} aiocb_t;

#ifdef __cplusplus
extern "C" {
#endif

#define KQCOMPAT_AIO(name) __asm__("kqcompat_" #name)

int	aio_read(struct aiocb *) KQCOMPAT_AIO(aio_read);
int	aio_write(struct aiocb *) KQCOMPAT_AIO(aio_write);
int	aio_fsync(int op, struct aiocb *) KQCOMPAT_AIO(aio_fsync);
int	lio_listio(int mode, struct aiocb *const list[], int n,
	    struct sigevent *) KQCOMPAT_AIO(lio_listio);
int	aio_error(const struct aiocb *) KQCOMPAT_AIO(aio_error);
ssize_t	aio_return(struct aiocb *) KQCOMPAT_AIO(aio_return);
int	aio_cancel(int fd, struct aiocb *) KQCOMPAT_AIO(aio_cancel);
int	aio_suspend(const struct aiocb *const list[], int n,
	    const struct timespec *) KQCOMPAT_AIO(aio_suspend);
ssize_t	aio_waitcomplete(struct aiocb **, struct timespec *)
	    KQCOMPAT_AIO(aio_waitcomplete);

/* No other system has these: all bytes are moved, or there is an error. */
int	aio_send(struct aiocb *, int flags) KQCOMPAT_AIO(aio_send);
int	aio_recv(struct aiocb *, int flags) KQCOMPAT_AIO(aio_recv);
/* aio_nbytes of a file, from aio_offset, to the socket aio_fildes; 0: all that follow. */
int	aio_sendfile(struct aiocb *, int file) KQCOMPAT_AIO(aio_sendfile);

#undef KQCOMPAT_AIO

#ifdef __cplusplus
}
#endif

#endif /* !KQCOMPAT_AIO_H */
