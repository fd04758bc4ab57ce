/*
 * eventfd(2) over a kqueue: link with -lkqcompat_epoll. For systems without a sys/eventfd.h of their
 * own.
 */
#ifndef KQCOMPAT_SYS_EVENTFD_H
#define KQCOMPAT_SYS_EVENTFD_H

#include <sys/kqcompat-io.h>

#define EFD_SEMAPHORE 1
#define EFD_CLOEXEC O_CLOEXEC
#define EFD_NONBLOCK O_NONBLOCK

typedef uint64_t eventfd_t;

#ifdef __cplusplus
extern "C" {
#endif

int eventfd(unsigned int initval, int flags) KQCOMPAT_IS(eventfd);
int eventfd_read(int fd, eventfd_t *value) KQCOMPAT_IS(eventfd_read);
int eventfd_write(int fd, eventfd_t value) KQCOMPAT_IS(eventfd_write);

#ifdef __cplusplus
}
#endif

#endif
