/* Waits that go on after chroot(2) into an empty directory, without any rights, without processes to
 * spare, and under a filter of system calls. */
#include "waits.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/stat.h>

static char root[] = "/tmp/kqcompat-root-XXXXXX";

static void ended_well(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What was made before goes on, and so does what is made now. */
static void goes_on(struct set *set)
{
	static struct set own;

	works(set);
	make_set(&own);
	works(&own);
	close_set(&own);
}

/* Every filter of a descriptor, and timers, triggers, processes and signals. */
static void filters_go_on(void)
{
	static const struct timespec now = { 0, 0 };
	struct kevent changes[5], kevs[8];
	pid_t child;
	int kq = kqueue();

	CHECK(kq >= 0);
	if ((child = fork()) == 0)
		_exit(0);
	CHECK(child > 0);
	EV_SET(&changes[0], 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, NULL);
	EV_SET(&changes[1], 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 1, NULL);
	EV_SET(&changes[2], (uintptr_t)child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	EV_SET(&changes[3], SIGUSR2, EVFILT_SIGNAL, EV_ADD, 0, 0, NULL);
	CHECK(signal(SIGUSR2, SIG_IGN) != SIG_ERR);
	CHECK(kevent(kq, changes, 4, NULL, 0, NULL) == 0);
	CHECK(waitpid(child, NULL, 0) == child);
	for (int seen = 0; seen != 7;) {
		int n = kevent(kq, NULL, 0, kevs, 8, NULL);

		CHECK(n > 0);
		for (int i = 0; i < n; i++) {
			seen |= kevs[i].filter == EVFILT_USER ? 1 : kevs[i].filter == EVFILT_TIMER ? 2 : 4;
			CHECK((kevs[i].flags & EV_ERROR) == 0);
		}
		EV_SET(&changes[0], 1, EVFILT_USER, EV_CLEAR, 0, 0, NULL);
		CHECK(kevent(kq, changes, 1, NULL, 0, NULL) == 0);
	}
	CHECK(kevent(kq, NULL, 0, kevs, 8, &now) >= 0);
	CHECK(close(kq) == 0);
}

/* As a server does it: sockets first, then the directory, then the rights. */
static void confines_itself(struct set *set)
{
	struct rlimit none = { 0, 0 };

	if (geteuid() != 0) {
		fprintf(stderr, "not root: no chroot, no other user\n");
		return;
	}
	CHECK(chroot(root) == 0 && chdir("/") == 0);
	CHECK(open("/proc/self/fd", O_RDONLY) == -1 && errno == ENOENT);
	goes_on(set);
	filters_go_on();
	CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
	goes_on(set);
	filters_go_on();
	CHECK(setrlimit(RLIMIT_NPROC, &none) == 0);
	goes_on(set);
}

#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), \
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Only what a program of epoll calls itself. */
static void filters_itself(struct set *set)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(read), ALLOW(write), ALLOW(exit_group),
#ifdef __NR_epoll_wait
		ALLOW(epoll_wait),
#endif
		ALLOW(epoll_pwait), ALLOW(epoll_ctl),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	char ready[PIPES];

	works(set);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
	for (int round = 0; round < 100; round++) {
		int at = round % PIPES;
		enum how how = round % 2 ? EPOLL_WAIT : EPOLL_PWAIT;
		struct epoll_event event = { EPOLLIN, { .u32 = (unsigned)at } };

		CHECK(wait_by(set, how, 0, NULL, ready) == 0);
		CHECK(epoll_ctl(set->ep, EPOLL_CTL_DEL, set->fds[at][0], NULL) == 0);
		CHECK(write(set->fds[at][1], "x", 1) == 1);
		CHECK(wait_by(set, how, 0, NULL, ready) == 0);
		CHECK(epoll_ctl(set->ep, EPOLL_CTL_ADD, set->fds[at][0], &event) == 0);
		CHECK(wait_by(set, how, -1, NULL, ready) == 1 && ready[at]);
		CHECK(drain(set->fds[at][0]) == 1);
	}
}

int main(void)
{
	static struct set set;
	static void (*const deeds[])(struct set *) = { confines_itself, filters_itself };

	cases(0);
	CHECK(mkdtemp(root) != NULL && chmod(root, 0755) == 0);
	for (int i = 0; i < 2; i++) {
		/* Once with a set that is new, once with one whose queues are there already. */
		for (int known = 0; known < 2; known++) {
			pid_t child = fork();

			if (child == 0) {
				make_set(&set);
				if (known)
					works(&set);
				deeds[i](&set);
				_exit(0);
			}
			ended_well(child);
		}
	}
	CHECK(rmdir(root) == 0);
	return 0;
}
