/* A BSD program's asynchronous I/O. */
#include "check.h"

#include <aio.h>

static int kq;

static struct aiocb request(int fd, void *buf, size_t len, off_t offset) {
	struct aiocb cb;
	memset(&cb, 0, sizeof(cb));
	cb.aio_fildes = fd;
	cb.aio_buf = buf;
	cb.aio_nbytes = len;
	cb.aio_offset = offset;
	return cb;
}

/* Has the queue be told. */
static void tell(struct aiocb *cb, unsigned short flags) {
	cb->aio_sigevent.sigev_notify = SIGEV_KEVENT;
	cb->aio_sigevent.sigev_notify_kqueue = kq;
	cb->aio_sigevent.sigev_notify_kevent_flags = flags;
	cb->aio_sigevent.sigev_value.sival_ptr = cb;
}

static struct kevent next(void) {
	struct kevent ev;
	CHECK(kevent(kq, NULL, 0, &ev, 1, NULL) == 1);
	return ev;
}

static int none(void) {
	return ready(kq, NULL) == 0;
}

static int temporary(void) {
	char name[] = "/tmp/kqcompat-aio-XXXXXX";
	int fd = mkstemp(name);
	CHECK(fd >= 0 && unlink(name) == 0);
	return fd;
}

static void by_event(void) {
	int fd = temporary();
	char out[] = "0123456789", in[10];
	struct aiocb w = request(fd, out, 10, 0), r = request(fd, in, 10, 4), s = request(fd, 0, 0, 0);
	tell(&w, 0);
	CHECK(aio_write(&w) == 0);
	struct kevent ev = next();
	CHECK(ev.ident == (uintptr_t)&w && ev.filter == EVFILT_AIO && ev.udata == &w);
	CHECK(ev.data == 0 && (ev.flags & EV_EOF) && ev.fflags == 0);
	CHECK(aio_error(&w) == 0 && aio_return(&w) == 10);
	CHECK(none());
	CHECK(aio_error(&w) == EINVAL);
	FAILS(aio_return(&w), EINVAL);

	tell(&r, EV_ONESHOT);
	CHECK(aio_read(&r) == 0);
	ev = next();
	CHECK(ev.ident == (uintptr_t)&r && (ev.flags & EV_ONESHOT) && none());
	CHECK(aio_return(&r) == 6 && memcmp(in, "456789", 6) == 0);

	tell(&s, EV_CLEAR);
	CHECK(aio_fsync(O_SYNC, &s) == 0);
	CHECK(next().ident == (uintptr_t)&s && aio_return(&s) == 0);
	FAILS(aio_fsync(O_APPEND, &s), EINVAL);

	tell(&r, EV_ADD);
	FAILS(aio_read(&r), EINVAL);
	CHECK(aio_error(&r) == EINVAL);
	tell(&r, 0);
	r.aio_sigevent.sigev_notify_kqueue = fd;
	FAILS(aio_read(&r), EBADF);
	r = request(-1, in, 1, 0);
	FAILS(aio_read(&r), EBADF);
	CHECK(aio_error(&r) == EBADF);
	r = request(fd, in, 1, -5);
	FAILS(aio_read(&r), EINVAL);
	r = request(fd, in, 1, 0);
	r.aio_sigevent.sigev_notify = SIGEV_SIGNAL;
	r.aio_sigevent.sigev_signo = SIGUSR1;
	FAILS(aio_read(&r), ENOTSUP);
	FAILS(aio_read((struct aiocb *)8), EFAULT);
	CHECK(close(fd) == 0);
}

/* Nobody is told: asked, slept for, taken as they come. */
static void without_a_queue(void) {
	int fd = temporary(), p[2];
	char out[] = "abc", in[4], one;
	struct timespec soon = {0, 1000000}, bad = {0, -1};
	struct aiocb w = request(fd, out, 3, 0), r = request(fd, in, 4, 0);
	CHECK(pipe(p) == 0);
	CHECK(aio_write(&w) == 0);
	const struct aiocb *both[] = {&w, NULL};
	CHECK(aio_suspend(both, 2, NULL) == 0);
	CHECK(aio_error(&w) == 0 && aio_return(&w) == 3);
	CHECK(aio_suspend(both, 2, NULL) == 0);

	struct aiocb waits = request(p[0], &one, 1, 0), *done;
	CHECK(aio_read(&waits) == 0);
	FAILS(aio_read(&waits), EINVAL);
	const struct aiocb *it[] = {&waits};
	FAILS(aio_suspend(it, 1, &now), EAGAIN);
	FAILS(aio_suspend(it, 1, &soon), EAGAIN);
	FAILS(aio_suspend(it, 1, &bad), EINVAL);
	FAILS(aio_suspend(it, -1, &now), EINVAL);
	FAILS(aio_waitcomplete(&done, &soon), EAGAIN);
	CHECK(done == NULL);
	CHECK(aio_error(&waits) == EINPROGRESS);
	pid_t child = fork();
	if (child == 0) {
		CHECK(aio_error(&waits) != 0);
		_exit(write(p[1], "x", 1) == 1 ? 0 : 1);
	}
	CHECK(aio_waitcomplete(&done, NULL) == 1 && done == &waits && one == 'x');
	CHECK(waitpid(child, NULL, 0) == child);
	CHECK(aio_read(&r) == 0);
	CHECK(aio_waitcomplete(&done, NULL) == 3 && done == &r);

	CHECK(aio_read(&waits) == 0);
	CHECK(aio_cancel(p[0], &waits) == AIO_CANCELED);
	CHECK(aio_error(&waits) == ECANCELED);
	FAILS(aio_return(&waits), ECANCELED);
	CHECK(aio_cancel(p[0], NULL) == AIO_ALLDONE);
	CHECK(aio_read(&waits) == 0);
	CHECK(aio_cancel(p[0], NULL) == AIO_CANCELED);
	FAILS(aio_waitcomplete(&done, NULL), ECANCELED);
	CHECK(done == &waits);
	FAILS(aio_cancel(-1, NULL), EBADF);
	CHECK(close(fd) == 0 && close(p[0]) == 0 && close(p[1]) == 0);
}

static void lists(void) {
	int fd = temporary(), p[2];
	char a[] = "aa", b[] = "bb", c;
	CHECK(pipe(p) == 0);
	struct aiocb first = request(fd, a, 2, 0), second = request(fd, b, 2, 2);
	struct aiocb third = request(p[0], &c, 1, 0), bad = request(-1, &c, 1, 0);
	first.aio_lio_opcode = second.aio_lio_opcode = LIO_WRITE;
	third.aio_lio_opcode = bad.aio_lio_opcode = LIO_READ;
	struct aiocb *two[] = {&first, NULL, &second}, *three[] = {&first, &second, &third};
	CHECK(lio_listio(LIO_WAIT, two, 3, NULL) == 0);
	CHECK(aio_return(&first) == 2 && aio_return(&second) == 2);

	struct sigevent sig;
	memset(&sig, 0, sizeof(sig));
	sig.sigev_notify = SIGEV_KEVENT;
	sig.sigev_notify_kqueue = kq;
	sig.sigev_value.sival_int = 9;
	CHECK(lio_listio(LIO_NOWAIT, three, 3, &sig) == 0);
	CHECK(none() && write(p[1], "z", 1) == 1);
	struct kevent ev = next();
	CHECK(ev.ident == (uintptr_t)three && ev.filter == EVFILT_LIO && (intptr_t)ev.udata == 9);
	CHECK(aio_return(&first) == 2 && aio_return(&second) == 2 && !none());
	CHECK(aio_return(&third) == 1 && none());

	/* A queue of its own for one of a list. */
	int other = kqueue();
	tell(&first, 0);
	first.aio_sigevent.sigev_notify_kqueue = other;
	FAILS(lio_listio(LIO_NOWAIT, two, 1, &sig), EIO);
	CHECK(none() && aio_error(&first) == EINVAL && close(other) == 0);
	first = request(fd, a, 2, 0);
	first.aio_lio_opcode = LIO_WRITE;

	struct aiocb *some[] = {&first, &bad};
	FAILS(lio_listio(LIO_WAIT, some, 2, NULL), EIO);
	CHECK(aio_return(&first) == 2 && aio_error(&bad) == EBADF);
	FAILS(lio_listio(7, some, 2, NULL), EINVAL);
	FAILS(lio_listio(LIO_WAIT, some, -1, NULL), EINVAL);
	CHECK(close(fd) == 0 && close(p[0]) == 0 && close(p[1]) == 0);
}

/* A request whose outcome nobody asked for is begun anew, and another queue is told. */
static void again_elsewhere(void) {
	char c;
	int p[2], first = kq, second = kqueue();
	CHECK(pipe(p) == 0 && write(p[1], "ab", 2) == 2);
	struct aiocb r = request(p[0], &c, 1, 0);
	tell(&r, EV_ONESHOT);
	CHECK(aio_read(&r) == 0 && next().ident == (uintptr_t)&r && c == 'a');
	kq = second;
	tell(&r, EV_ONESHOT);
	CHECK(aio_read(&r) == 0 && next().ident == (uintptr_t)&r && c == 'b');
	CHECK(aio_read(&r) == 0 && aio_error(&r) == EINPROGRESS);
	kq = first;
	tell(&r, 0);
	FAILS(aio_read(&r), EINVAL);
	CHECK(aio_cancel(p[0], &r) == AIO_CANCELED);
	FAILS(aio_return(&r), ECANCELED);
	CHECK(aio_error(&r) == ECANCELED || aio_error(&r) == EINVAL);
	CHECK(close(second) == 0 && close(p[0]) == 0 && close(p[1]) == 0);
}

/* The queue is closed: the request goes on. */
static void outliving_the_queue(void) {
	int p[2];
	char c;
	CHECK(pipe(p) == 0);
	struct aiocb r = request(p[0], &c, 1, 0);
	tell(&r, 0);
	CHECK(aio_read(&r) == 0);
	CHECK(close(kq) == 0);
	CHECK(aio_error(&r) == EINPROGRESS);
	CHECK(write(p[1], "q", 1) == 1);
	const struct aiocb *it[] = {&r};
	CHECK(aio_suspend(it, 1, NULL) == 0);
	CHECK(aio_return(&r) == 1 && c == 'q');
	CHECK(close(p[0]) == 0 && close(p[1]) == 0);
	CHECK((kq = kqueue()) >= 0);
}

static void network(void) {
	int s[2], fd = temporary();
	static char out[300000], in[600000];
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7);
	CHECK(pwrite(fd, out, sizeof(out), 0) == (ssize_t)sizeof(out));
	pair(s);
	struct aiocb to = request(s[0], out, sizeof(out), 0), from = request(s[1], in, sizeof(in), 0);
	struct aiocb file = request(s[0], NULL, 0, 1000);
	tell(&to, EV_ONESHOT), tell(&file, EV_ONESHOT), tell(&from, EV_ONESHOT);
	CHECK(aio_recv(&from, 0) == 0 && aio_send(&to, 0) == 0);
	struct kevent ev = next();
	CHECK(ev.ident == (uintptr_t)&to && ev.data == 0 && ev.ext[0] == sizeof(out));
	CHECK(aio_return(&to) == (ssize_t)sizeof(out));
	CHECK(aio_sendfile(&file, fd) == 0);
	CHECK(next().ident == (uintptr_t)&file && aio_return(&file) == (ssize_t)sizeof(out) - 1000);
	CHECK(shutdown(s[0], SHUT_WR) == 0);
	CHECK(next().ident == (uintptr_t)&from);
	CHECK(aio_return(&from) == 2 * (ssize_t)sizeof(out) - 1000);
	CHECK(memcmp(in, out, sizeof(out)) == 0);
	CHECK(memcmp(in + sizeof(out), out + 1000, sizeof(out) - 1000) == 0);
	CHECK(close(s[0]) == 0 && close(s[1]) == 0 && close(fd) == 0);
}

int main(void) {
	CHECK((kq = kqueue()) >= 0);
	char c;
	int p[2];
	CHECK(pipe(p) == 0);
	struct aiocb probe = request(p[0], &c, 1, 0);
	if (aio_read(&probe) != 0 && errno == ENOSYS) {
		puts("skipped: there is no io_uring here");
		return 0;
	}
	CHECK(aio_cancel(p[0], &probe) == AIO_CANCELED);
	FAILS(aio_return(&probe), ECANCELED);
	by_event();
	without_a_queue();
	lists();
	again_elsewhere();
	outliving_the_queue();
	network();
	return 0;
}
