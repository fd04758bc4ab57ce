/* What is closed, duplicated, replaced and handed on. */
#include "check.h"

#include <dirent.h>
#include <sys/syscall.h>

/* A descriptor whose file lives on elsewhere, readable, with a knote. */
static int watched(int kq, int fds[2])
{
	int copy;

	pair(fds);
	CHECK(write(fds[1], "x", 1) == 1);
	CHECK((copy = dup(fds[0])) >= 0);
	CHECK(change(kq, copy, EVFILT_READ, EV_ADD, 0, 0) == 0);
	CHECK(ready(kq, NULL) == 1);
	return copy;
}

/* However a number is closed, its knote is gone at once. */
static void every_way_to_close(int kq)
{
	for (int way = 0; way < 7; way++) {
		int fds[2], other[2], fd = watched(kq, fds);

		pair(other);
		switch (way) {
		case 0: CHECK(close(fd) == 0); break;
		case 1: CHECK(dup2(other[0], fd) == fd); break;
		case 2: CHECK(dup3(other[0], fd, O_CLOEXEC) == fd); break;
		case 3: CHECK(syscall(SYS_close, fd) == 0); break;
		case 4: CHECK(fclose(fdopen(fd, "r")) == 0); break;
		case 5: CHECK(close_range(fd, fd, 0) == 0); break;
		case 6: CHECK(freopen("/dev/null", "r", fdopen(fd, "r")) != NULL); break;
		}
		CHECK(ready(kq, NULL) == 0);
		FAILS(change(kq, fd, EVFILT_READ, EV_DELETE, 0, 0),
		    fcntl(fd, F_GETFD) == -1 ? EBADF : ENOENT);
		if (way == 1) {
			/* dup2 onto itself closes nothing. */
			CHECK(write(other[1], "x", 1) == 1);
			CHECK(change(kq, fd, EVFILT_READ, EV_ADD, 0, 0) == 0);
			CHECK(dup2(fd, fd) == fd && ready(kq, NULL) == 1);
		}
		if (fcntl(fd, F_GETFD) != -1)
			CHECK(close(fd) == 0);
		CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
		CHECK(close(other[0]) == 0 && close(other[1]) == 0);
		CHECK(ready(kq, NULL) == 0);
	}
}

/* A call that fails closes nothing. */
static void no_way_to_close(int kq)
{
	int fds[2], other[2], fd = watched(kq, fds);

	pair(other);
	FAILS(dup3(other[0], fd, O_APPEND), EINVAL);
	FAILS(dup2(-1, fd), EBADF);
	FAILS(close_range(fd, fd, 1 << 20), EINVAL);
	FAILS(close_range(fd, fd - 1, 0), EINVAL);
	(void)close_range(fd, fd, CLOSE_RANGE_CLOEXEC); /* not before Linux 5.11 */
	CHECK(ready(kq, NULL) == 1);
	CHECK(close(fd) == 0 && close(fds[0]) == 0 && close(fds[1]) == 0);
	CHECK(close(other[0]) == 0 && close(other[1]) == 0);
}

static volatile sig_atomic_t to_close = -1;

static void close_it(int signal)
{
	(void)signal;
	if (to_close >= 0 && close(to_close) == 0)
		to_close = -1;
}

static volatile int stop;

static void *bombard(void *thread)
{
	while (!stop) {
		pthread_kill(*(pthread_t *)thread, SIGUSR1);
		nap(1);
	}
	return NULL;
}

/* A signal handler closes what a kevent() under way has knotes of. */
static void closed_in_a_handler(int kq)
{
	struct sigaction action = { .sa_handler = close_it };
	pthread_t self = pthread_self(), other;
	int closed = 0;

	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	CHECK(pthread_create(&other, NULL, bombard, &self) == 0);
	while (closed < 50) {
		int fds[2], fd = watched(kq, fds);
		struct kevent kev;

		to_close = fd;
		while (to_close >= 0)
			CHECK(kevent(kq, NULL, 0, &kev, 1, &now) >= 0);
		CHECK(ready(kq, NULL) == 0);
		CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
		closed++;
	}
	stop = 1;
	CHECK(pthread_join(other, NULL) == 0);
}

static int sleeping_in;

static void *sleeper(void *unused)
{
	struct kevent kev;

	(void)unused;
	errno = 0;
	return (void *)(intptr_t)(kevent(sleeping_in, NULL, 0, &kev, 1, &long_time) == -1 ? errno : 0);
}

/* Closing the queue wakes who sleeps in it. */
static void closed_while_waited_on(void)
{
	pthread_t threads[3];
	struct kevent kev;

	CHECK((sleeping_in = kqueue()) >= 0);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, sleeper, NULL) == 0);
	nap(50);
	CHECK(close(sleeping_in) == 0);
	for (int i = 0; i < 3; i++) {
		void *error;

		CHECK(pthread_join(threads[i], &error) == 0);
		CHECK((intptr_t)error == EBADF);
	}
	FAILS(kevent(sleeping_in, NULL, 0, &kev, 1, &now), EBADF);
}

static int send_over(int fd)
{
	int fds[2];
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1,
	    .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	pair(fds);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	CHECK(sendmsg(fds[0], &message, 0) == 1);
	CHECK(recvmsg(fds[1], &message, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
	return fd;
}

/* Every duplicate is the queue, which lives until the last one is closed. */
static void duplicates(void)
{
	int first = kqueue(), second = dup(first), third;
	struct kevent kev;

	CHECK(change(first, 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0) == 0);
	CHECK(ready(second, &kev) == 1 && kev.ident == 1);
	third = send_over(second);
	CHECK(ready(third, &kev) == 1 && kev.ident == 1);
	CHECK(close(first) == 0);
	CHECK(change(third, 2, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0) == 0);
	CHECK(ready(second, NULL) == 2);
	CHECK(close(third) == 0);
	CHECK(ready(second, NULL) == 2);
	CHECK(change(second, 3, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 1000) == 0);
	CHECK(close(second) == 0);
	FAILS(kevent(second, NULL, 0, &kev, 1, &now), EBADF);
}

static int open_numbers(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	CHECK(dir != NULL);
	while (readdir(dir) != NULL)
		n++;
	CHECK(closedir(dir) == 0);
	return n;
}

/* The program gets the numbers that it would get without us; a closed queue leaves none behind. */
static void no_descriptor_is_left(void)
{
	int before, lowest, kq, fds[2];
	struct kevent kev;

	/* But for one that is the process's, made for the first knote that is disabled. */
	CHECK((kq = kqueue()) >= 0);
	pair(fds);
	CHECK(change(kq, fds[1], EVFILT_READ, EV_ADD | EV_DISABLE, 0, 0) == 0);
	CHECK(close(kq) == 0 && close(fds[0]) == 0 && close(fds[1]) == 0);
	before = open_numbers();
	CHECK((lowest = dup(0)) >= 0 && close(lowest) == 0);
	CHECK((kq = kqueue()) == lowest);
	CHECK(change(kq, 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_MSECONDS, 1) == 0);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1);
	pair(fds);
	CHECK(fds[0] < 100 && fds[1] < 100);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0) == 0);
	CHECK(change(kq, fds[0], EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0) == 0);
	CHECK(change(kq, fds[1], EVFILT_READ, EV_ADD | EV_DISABLE, 0, 0) == 0);
	CHECK(close(kq) == 0 && close(fds[0]) == 0 && close(fds[1]) == 0);
	CHECK(open_numbers() == before);
}

int main(void)
{
	int kq = kqueue();

	CHECK(kq >= 0);
	no_descriptor_is_left();
	every_way_to_close(kq);
	no_way_to_close(kq);
	closed_in_a_handler(kq);
	closed_while_waited_on();
	duplicates();
	return 0;
}
