/*
 * kqcompat.h: seeing libkqcompat_kqueue, _epoll, _poll and _select at work. Each of them has these
 * functions; kqcompat.7 says what they print, and which settings in the environment there are.
 */
#ifndef KQCOMPAT_H
#define KQCOMPAT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Writes to the descriptor fd what the libraries did in this process: a line for each queue, thread
 * and remembered set. Returns 0, or -1 with errno of write(2).
 */
int kqcompat_stats(int fd);

/*
 * Writes to the descriptor fd the knotes of the live queue kq, or the registrations of the epoll set
 * kq, a line for each. Returns 0, or -1 with errno: EBADF where kq is no queue, EBUSY where another
 * thread is changing it just now, that of write(2).
 */
int kqcompat_dump(int kq, int fd);

/*
 * Writes to buffer what poll and select did, as "served=N handed=N ...", with a NUL at the end.
 * Returns the length, or 0 where it does not fit into size bytes. In libkqcompat_kqueue, _poll and
 * _select, each of its own calls.
 */
size_t kqcompat_counters(char *buffer, size_t size);

#ifdef __cplusplus
}
#endif

#endif
