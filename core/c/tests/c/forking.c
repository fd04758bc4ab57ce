/* fork, vfork and exec. */
#include "check.h"

#include <dirent.h>
#include <spawn.h>

extern char **environ;

static void wait_for(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The child has no queue, may have its own, and its closes are its own affair. */
static void forked(int kq)
{
	int fds[2];
	pid_t child;
	struct kevent kev;

	pair(fds);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	if ((child = fork()) == 0) {
		int mine;

		FAILS(kevent(kq, NULL, 0, &kev, 1, &now), EBADF);
		FAILS(change(kq, fds[0], EVFILT_READ, EV_DELETE, 0, 0), EBADF);
		CHECK((mine = kqueue()) >= 0);
		CHECK(change(mine, 1, EVFILT_USER, EV_ADD, NOTE_TRIGGER, 0) == 0);
		CHECK(ready(mine, NULL) == 1);
		CHECK(close(kq) == 0 && close(fds[0]) == 0);
		_exit(0);
	}
	wait_for(child);
	CHECK(ready(kq, NULL) == 0);
	CHECK(write(fds[1], "x", 1) == 1 && ready(kq, NULL) == 1);

	/* A vfork child shares our memory. */
	if ((child = vfork()) == 0) {
		close(fds[0]);
		close(kq);
		_exit(0);
	}
	wait_for(child);
	CHECK(ready(kq, &kev) == 1 && (int)kev.ident == fds[0]);
	CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
	CHECK(ready(kq, NULL) == 0);
}

/* A program that is executed inherits nothing of ours. */
static void executed(const char *self, int kq)
{
	char *argv[] = { (char *)self, (char *)"count", NULL };
	int fds[2];
	pid_t child;

	pair(fds);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0) == 0);
	CHECK(change(kq, fds[0], EVFILT_WRITE, EV_ADD | EV_CLEAR, 0, 0) == 0);
	CHECK(change(kq, 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 1000) == 0);
	CHECK(posix_spawn(&child, self, NULL, NULL, argv, environ) == 0);
	wait_for(child);
	CHECK(close(fds[0]) == 0 && close(fds[1]) == 0);
}

static int count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	char path[64], name[64];
	int found = 0;

	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL) {
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", entry->d_name);
		n = readlink(path, name, sizeof(name) - 1);
		name[n < 0 ? 0 : n] = 0;
		found += strncmp(name, "anon_inode:", 11) == 0;
	}
	return found;
}

int main(int argc, char **argv)
{
	int kq;

	if (argc > 1)
		return count();
	CHECK((kq = kqueue()) >= 0);
	forked(kq);
	executed(argv[0], kq);
	return 0;
}
