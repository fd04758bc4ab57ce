/*
 * timerfd_create(2) and kin over a kqueue: link with -lkqcompat_epoll. For systems without a
 * sys/timerfd.h of their own.
 */
#ifndef KQCOMPAT_SYS_TIMERFD_H
#define KQCOMPAT_SYS_TIMERFD_H

#include <sys/kqcompat-io.h>

#include <time.h>

#define TFD_CLOEXEC O_CLOEXEC
#define TFD_NONBLOCK O_NONBLOCK
#define TFD_TIMER_ABSTIME 1
#define TFD_TIMER_CANCEL_ON_SET 2

/* macOS has no POSIX timers, and none of these. */
#ifdef __APPLE__
struct itimerspec {
	struct timespec it_interval;
	struct timespec it_value;
};
#endif

#ifdef __cplusplus
extern "C" {
#endif

int timerfd_create(int clockid, int flags) KQCOMPAT_IS(timerfd_create);
int timerfd_settime(int fd, int flags, const struct itimerspec *new_value,
    struct itimerspec *old_value) KQCOMPAT_IS(timerfd_settime);
int timerfd_gettime(int fd, struct itimerspec *curr_value) KQCOMPAT_IS(timerfd_gettime);

#ifdef __cplusplus
}
#endif

#endif
