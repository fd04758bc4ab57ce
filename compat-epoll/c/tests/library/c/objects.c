/* A program for Linux, with the headers that come with the library. */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static void
watched(int fd, int ready)
{
	struct epoll_event event = { .events = EPOLLIN, .data = { .fd = fd } };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0);
	memset(&event, 0, sizeof event);
	CHECK(epoll_wait(ep, &event, 1, ready ? 60000 : 0) == ready);
	CHECK(!ready || (event.data.fd == fd && event.events == EPOLLIN));
	CHECK(close(ep) == 0);
}

static void
events(void)
{
	uint64_t number = 4;
	int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(fd, F_GETFL) & O_NONBLOCK);
	CHECK(write(fd, &number, sizeof number) == sizeof number);
	watched(fd, 1);
	CHECK(read(fd, &number, sizeof number) == sizeof number && number == 7);
	CHECK(read(fd, &number, sizeof number) == -1 && errno == EAGAIN);
	watched(fd, 0);
	CHECK(eventfd_write(fd, 2) == 0);
	CHECK(eventfd_read(fd, &number) == 0 && number == 2);
	CHECK(fcntl(fd, F_SETFL, 0) == 0 && !(fcntl(fd, F_GETFL) & O_NONBLOCK));
	CHECK(close(fd) == 0);
	CHECK(eventfd(0, -1) == -1 && errno == EINVAL);
}

static void
timers(void)
{
	struct itimerspec set = { .it_value = { .tv_nsec = 1000000 } };
	uint64_t number = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(timerfd_settime(fd, 0, &set, NULL) == 0);
	watched(fd, 1);
	CHECK(read(fd, &number, sizeof number) == sizeof number && number == 1);
	CHECK(timerfd_gettime(fd, &set) == 0);
	CHECK(set.it_value.tv_sec == 0 && set.it_value.tv_nsec == 0);
	CHECK(close(fd) == 0);
	CHECK(timerfd_gettime(fd, &set) == -1 && errno == EBADF);
}

static void
signals(void)
{
	struct signalfd_siginfo info;
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &mask, NULL) == 0);
	fd = signalfd(-1, &mask, SFD_CLOEXEC);
	CHECK(fd >= 0);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	watched(fd, 1);
	CHECK(sizeof info == 128 && read(fd, &info, sizeof info) == sizeof info);
	CHECK(info.ssi_signo == SIGUSR1 && info.ssi_pid == (uint32_t)getpid());
	watched(fd, 0);
	CHECK(close(fd) == 0);
}

static void *
wait_for_ever(void *fd)
{
	uint64_t number;

	(void)!read(*(int *)fd, &number, sizeof number);
	return NULL;
}

static void
cancelled(void)
{
	int fd = eventfd(0, 0);
	pthread_t thread;
	void *result;

	CHECK(pthread_create(&thread, NULL, wait_for_ever, &fd) == 0);
	CHECK(pthread_cancel(thread) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	CHECK(close(fd) == 0);
}

int
main(void)
{
	char two[2];
	int ends[2];

	events();
	timers();
	signals();
	cancelled();
	/* Everything else is the system's. */
	CHECK(pipe(ends) == 0);
	CHECK(write(ends[1], "ab", 2) == 2 && read(ends[0], two, 2) == 2);
	CHECK(write(-1, "ab", 2) == -1 && errno == EBADF);
	return 0;
}
