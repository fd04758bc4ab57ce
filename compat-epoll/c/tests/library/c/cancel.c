/* A thread can be cancelled in each of the calls that block (pthreads(7)), and only there. */

#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct waiter {
	int ep;
	int which;
	_Atomic long tid;
	_Atomic int cleaned_up;
};

static void clean_up(void *arg)
{
	((struct waiter *)arg)->cleaned_up = 1;
}

static int wait_by(int which, int ep, int timeout)
{
	struct epoll_event event;
	struct timespec time = { timeout / 1000, 0 };
	switch (which) {
	case 0:
		return epoll_wait(ep, &event, 1, timeout);
	case 1:
		return epoll_pwait(ep, &event, 1, timeout, NULL);
	default:
		return epoll_pwait2(ep, &event, 1, timeout < 0 ? NULL : &time, NULL);
	}
}

static void *waits(void *arg)
{
	struct waiter *self = arg;
	pthread_cleanup_push(clean_up, self);
	self->tid = syscall(SYS_gettid);
	wait_by(self->which, self->ep, -1);
	pthread_cleanup_pop(0);
	return NULL;
}

/* Cancelled already when it gets to its wait, which has an event for it. */
static void *waits_when_cancelled(void *arg)
{
	struct waiter *self = arg;
	pthread_cleanup_push(clean_up, self);
	pthread_cancel(pthread_self());
	wait_by(self->which, self->ep, -1);
	pthread_cleanup_pop(0);
	return NULL;
}

/* May not be cancelled: gets its event, and ends as it likes. */
static void *waits_undisturbed(void *arg)
{
	struct waiter *self = arg;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	self->tid = syscall(SYS_gettid);
	return wait_by(self->which, self->ep, -1) == 1 ? NULL : arg;
}

/* Creating and changing are no cancellation points. */
static void *creates_when_cancelled(void *arg)
{
	pthread_cancel(pthread_self());
	int ep = epoll_create1(0), fd = eventfd(0, 0);
	struct epoll_event event = { .events = EPOLLIN };
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0);
	((struct waiter *)arg)->cleaned_up = 1;
	pthread_testcancel();
	return NULL;
}

static void until_asleep(struct waiter *waiter)
{
	char path[64], state[256], *after_name;
	while (waiter->tid == 0)
		usleep(1000);
	snprintf(path, sizeof path, "/proc/self/task/%ld/stat", waiter->tid);
	for (int tries = 0; tries < 60000; tries++) {
		FILE *file = fopen(path, "r");
		CHECK(file != NULL && fgets(state, sizeof state, file) != NULL);
		fclose(file);
		after_name = strrchr(state, ')');
		if (after_name[2] == 'S')
			return;
		usleep(1000);
	}
	CHECK(!"it does not sleep");
}

static void *run(struct waiter *waiter, void *(*body)(void *), int cancel, int event_fd)
{
	pthread_t thread;
	void *result;
	CHECK(pthread_create(&thread, NULL, body, waiter) == 0);
	if (cancel) {
		until_asleep(waiter);
		CHECK(pthread_cancel(thread) == 0);
	}
	if (event_fd >= 0)
		CHECK(eventfd_write(event_fd, 1) == 0);
	CHECK(pthread_join(thread, &result) == 0);
	return result;
}

int main(void)
{
	for (int which = 0; which < 3; which++) {
		int ep = epoll_create1(0), fd = eventfd(0, EFD_NONBLOCK);
		struct epoll_event event = { .events = EPOLLIN };
		CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0);

		/* Several times: what an earlier thread left behind must not hurt a later one. */
		for (int n = 0; n < 20; n++) {
			struct waiter waiter = { .ep = ep, .which = which };
			CHECK(run(&waiter, waits, 1, -1) == PTHREAD_CANCELED && waiter.cleaned_up);
		}
		struct waiter undisturbed = { .ep = ep, .which = which };
		CHECK(run(&undisturbed, waits_undisturbed, 1, fd) == NULL);
		/* The event is still there. */
		CHECK(wait_by(which, ep, 1000) == 1);
		struct waiter cancelled = { .ep = ep, .which = which };
		CHECK(run(&cancelled, waits_when_cancelled, 0, -1) == PTHREAD_CANCELED);
		CHECK(cancelled.cleaned_up);
		CHECK(wait_by(which, ep, 1000) == 1);
		close(ep);
		close(fd);
	}
	struct waiter creator = { .ep = -1 };
	CHECK(run(&creator, creates_when_cancelled, 0, -1) == PTHREAD_CANCELED && creator.cleaned_up);
	return 0;
}
