/* The library is opened late, so no hook of its own sees what the program closes. What a queue had of its
 * own is closed all the same. Arguments: the library, how many queues. */
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

static int (*make)(void);
static int (*call)(int, const struct kevent *, int, struct kevent *, int, const struct timespec *);

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	CHECK(dir != NULL);
	while (readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* A queue with knotes of each filter that needs a descriptor of its own. */
static int queue(int sock, int file, pid_t child)
{
	struct kevent kev[8];
	int kq = make(), n = 0;

	CHECK(kq >= 0);
	EV_SET(&kev[n++], sock, EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0, NULL);
	EV_SET(&kev[n++], sock, EVFILT_READ, EV_ADD, 0, 0, NULL);
	EV_SET(&kev[n++], 0, EVFILT_READ, EV_ADD | EV_DISABLE, 0, 0, NULL);
	EV_SET(&kev[n++], file, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0, NULL);
	EV_SET(&kev[n++], 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0, NULL);
	EV_SET(&kev[n++], 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 3600, NULL);
	EV_SET(&kev[n++], SIGUSR1, EVFILT_SIGNAL, EV_ADD, 0, 0, NULL);
	EV_SET(&kev[n++], 0, EVFILT_FS, EV_ADD, VQ_MOUNT, 0, NULL);
	CHECK(call(kq, kev, n, NULL, 0, NULL) == 0);
	/* valgrind does not know pidfd_open. */
	EV_SET(&kev[0], child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, NULL);
	CHECK(call(kq, kev, 1, NULL, 0, NULL) == 0 || errno == ENOSYS);
	CHECK(call(kq, NULL, 0, kev, 8, &now) >= 2);
	return kq;
}

int main(int argc, char **argv)
{
	void *library = argc == 3 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
	int pair[2], idle[2], early = 0, kq, mine;
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 7 };
	FILE *file = tmpfile();
	pid_t child;

	CHECK(library != NULL && file != NULL);
	make = (int (*)(void))dlsym(library, "kqueue");
	call = (int (*)(int, const struct kevent *, int, struct kevent *, int,
	    const struct timespec *))dlsym(library, "kevent");
	CHECK(make != NULL && call != NULL);
	CHECK(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	CHECK(pipe(idle) == 0 && dup2(idle[0], 0) == 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
	CHECK((child = fork()) >= 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	for (int i = 0; i < 10 + atoi(argv[2]); i++) {
		CHECK(close(queue(pair[0], fileno(file), child)) == 0);
		if (i == 10)
			early = open_descriptors();
	}
	CHECK(open_descriptors() == early);

	/* An epoll set of ours comes to the number: nothing is done to it. */
	kq = queue(pair[0], fileno(file), child);
	CHECK(close(kq) == 0 && (mine = epoll_create1(0)) == kq);
	CHECK(epoll_ctl(mine, EPOLL_CTL_ADD, idle[0], &event) == 0);
	CHECK(raise(SIGUSR1) == 0);
	for (int i = 0; i < 10; i++)
		CHECK(close(make()) == 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(epoll_wait(mine, &event, 1, 0) == 0);
	CHECK(write(idle[1], "x", 1) == 1);
	CHECK(epoll_wait(mine, &event, 1, -1) == 1 && event.data.u64 == 7);
	CHECK(open_descriptors() < early);

	CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
	return 0;
}
