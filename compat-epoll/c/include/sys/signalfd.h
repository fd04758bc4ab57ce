/*
 * signalfd(2) over a kqueue: link with -lkqcompat_epoll. For systems without a sys/signalfd.h of their
 * own.
 */
#ifndef KQCOMPAT_SYS_SIGNALFD_H
#define KQCOMPAT_SYS_SIGNALFD_H

#include <sys/kqcompat-io.h>

#include <signal.h>

#define SFD_CLOEXEC O_CLOEXEC
#define SFD_NONBLOCK O_NONBLOCK

/* What the system does not tell is 0. */
struct signalfd_siginfo {
	uint32_t ssi_signo;
	int32_t ssi_errno;
	int32_t ssi_code;
	uint32_t ssi_pid;
	uint32_t ssi_uid;
	int32_t ssi_fd;
	uint32_t ssi_tid;
	uint32_t ssi_band;
	uint32_t ssi_overrun;
	uint32_t ssi_trapno;
	int32_t ssi_status;
	int32_t ssi_int;
	uint64_t ssi_ptr;
	uint64_t ssi_utime;
	uint64_t ssi_stime;
	uint64_t ssi_addr;
	uint16_t ssi_addr_lsb;
	uint16_t pad2_;
	int32_t ssi_syscall;
	uint64_t ssi_call_addr;
	uint32_t ssi_arch;
	uint8_t pad_[28];
};

#ifdef __cplusplus
extern "C" {
#endif

int signalfd(int fd, const sigset_t *mask, int flags) KQCOMPAT_IS(signalfd);

#ifdef __cplusplus
}
#endif

#endif
