/* The six calls, their errors, and errno. argv[1]: the end of the path of the file that has them. */

#define _GNU_SOURCE
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static void comes_from(void *function, const char *path_end)
{
	Dl_info info;
	size_t end = strlen(path_end);
	CHECK(dladdr(function, &info) != 0);
	size_t len = strlen(info.dli_fname);
	if (len < end || strcmp(info.dli_fname + len - end, path_end) != 0) {
		fprintf(stderr, "%s, not %s\n", info.dli_fname, path_end);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	CHECK(argc == 2);
	comes_from((void *)epoll_wait, argv[1]);
	comes_from((void *)epoll_ctl, argv[1]);

	errno = 0;
	CHECK(epoll_create(0) == -1 && errno == EINVAL);
	CHECK(epoll_create1(-1) == -1 && errno == EINVAL);
	errno = 77;
	int old = epoll_create(1), ep = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(1, 0);
	CHECK(old >= 0 && ep >= 0 && fd >= 0 && errno == 77);
	CHECK(fcntl(old, F_GETFD) == 0 && fcntl(ep, F_GETFD) == FD_CLOEXEC);

	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 0x1234567890abcdef }, got[4];
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, NULL) == -1 && errno == EFAULT);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, -1, &event) == -1 && errno == EBADF);
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event) == -1 && errno == ENOENT);
	errno = 77;
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == 0 && errno == 77);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) == -1 && errno == EEXIST);

	sigset_t none;
	sigemptyset(&none);
	struct timespec second = { 1, 0 }, no_time = { 0, 1000000000 };
	errno = 77;
	CHECK(epoll_wait(ep, got, 4, -1) == 1 && got[0].data.u64 == event.data.u64);
	CHECK(epoll_pwait(ep, got, 4, -1, &none) == 1 && got[0].events == EPOLLIN);
	CHECK(epoll_pwait2(ep, got, 4, &second, NULL) == 1 && got[0].data.u64 == event.data.u64);
	CHECK(errno == 77);
	CHECK(epoll_wait(ep, got, 0, 0) == -1 && errno == EINVAL);
	CHECK(epoll_wait(-1, got, 1, 0) == -1 && errno == EBADF);
	/* Not known to the compiler, which would warn. */
	struct epoll_event *volatile nowhere = NULL;
	CHECK(epoll_wait(ep, nowhere, 1, 0) == -1 && errno == EFAULT);
	CHECK(epoll_pwait2(ep, got, 1, &no_time, NULL) == -1 && errno == EINVAL);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL) == 0);
	CHECK(epoll_wait(ep, got, 4, 1) == 0);
	return 0;
}
