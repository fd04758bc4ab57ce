/*
 * read, write and fcntl for programs with an eventfd, timerfd or signalfd of kqcompat's: what such a
 * descriptor counts is known to the library, not to the kernel. Of all other descriptors they are the
 * system's own. With KQCOMPAT_NO_REDIRECT the program calls kqcompat_read and its kin itself.
 */
#ifndef KQCOMPAT_SYS_KQCOMPAT_IO_H
#define KQCOMPAT_SYS_KQCOMPAT_IO_H

#include <sys/types.h>

#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#define KQCOMPAT_TEXT_(x) #x
#define KQCOMPAT_TEXT(x) KQCOMPAT_TEXT_(x)
/* The function has this name in the library. */
#define KQCOMPAT_IS(name) __asm__(KQCOMPAT_TEXT(__USER_LABEL_PREFIX__) "kqcompat_" #name)

#ifdef __cplusplus
extern "C" {
#endif

ssize_t kqcompat_read(int fd, void *buf, size_t count);
ssize_t kqcompat_write(int fd, const void *buf, size_t count);
int kqcompat_fcntl(int fd, int cmd, intptr_t arg);

#ifndef KQCOMPAT_NO_REDIRECT
#if defined(__APPLE__) || (defined(_FORTIFY_SOURCE) && _FORTIFY_SOURCE > 0)
/* They have other names already, or bodies; so everything of these names is meant, a member too. */
#undef read
#undef write
#define read(...) kqcompat_read(__VA_ARGS__)
#define write(...) kqcompat_write(__VA_ARGS__)
#else
ssize_t read(int fd, void *buf, size_t count) KQCOMPAT_IS(read);
ssize_t write(int fd, const void *buf, size_t count) KQCOMPAT_IS(write);
#endif

static inline int
kqcompat_fcntl_of_any(int fd, int cmd, ...)
{
	va_list rest;
	intptr_t arg;

	va_start(rest, cmd);
	arg = va_arg(rest, intptr_t);
	va_end(rest);
	return kqcompat_fcntl(fd, cmd, arg);
}
#define fcntl kqcompat_fcntl_of_any
#endif

#ifdef __cplusplus
}
#endif

#endif
