/* What a program sees of itself, and what KQCOMPAT_STATS prints of it; the argument says how it ends. */
#include <fcntl.h>
#include <string.h>
#include <sys/event.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kqcompat.h>

#include "check.h"

static char text[8192];

/* What has been written to a file since it was asked last. */
static const char *read_back(int fd)
{
	static off_t seen;
	ssize_t n = pread(fd, text, sizeof text - 1, seen);
	CHECK(n >= 0);
	seen += n;
	text[n] = '\0';
	return text;
}

int main(int argc, char **argv)
{
	int kq = kqueue();
	struct kevent changes[2];
	EV_SET(&changes[0], 7, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 100, NULL);
	EV_SET(&changes[1], 8, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_TRIGGER, 0, NULL);
	CHECK(kq >= 0 && kevent(kq, changes, 2, NULL, 0, NULL) == 0);

	if (argc < 2) {
		FILE *file = tmpfile();
		int fd = fileno(file);
		char line[64];
		CHECK(kqcompat_stats(fd) == 0);
		snprintf(line, sizeof line, "queue %d (kqueue): 2 knotes (TIMER 1, USER 1), ", kq);
		CHECK(strstr(read_back(fd), line) != NULL);
		CHECK(strncmp(text, "libkqcompat_kqueue ", 19) == 0);

		CHECK(kqcompat_dump(kq, fd) == 0);
		CHECK(strstr(read_back(fd), "\n  USER 8 EV_CLEAR fflags 0x0 data 0 udata 0x0 active\n") != NULL);
		CHECK(strstr(text, "\n  TIMER 7 ") != NULL);

		FAILS(kqcompat_dump(fd, fd), EBADF);
		FAILS(kqcompat_dump(kq, -1), EBADF);
		FAILS(kqcompat_stats(-1), EBADF);
		CHECK(*read_back(fd) == '\0');
		return 0;
	}
	if (strcmp(argv[1], "fork") == 0) {
		pid_t child = fork();
		int status;
		if (child == 0)
			return kqueue() < 0;
		CHECK(waitpid(child, &status, 0) == child && status == 0);
	} else if (strcmp(argv[1], "vfork") == 0) {
		pid_t child = vfork();
		if (child == 0)
			_exit(0);
		CHECK(waitpid(child, NULL, 0) == child);
	} else if (strcmp(argv[1], "_exit") == 0) {
		_exit(0);
	} else if (strcmp(argv[1], "exec") == 0) {
		execl("/bin/true", "true", (char *)NULL);
	} else if (strcmp(argv[1], "closed") == 0) {
		/* Something else has all the numbers: it must not be written to. */
		int last = open("/dev/null", O_WRONLY);
		for (int fd = 3; fd < 2000; fd++)
			if (fd != last)
				dup2(last, fd);
		dup2(last, 2);
	}
	return 0;
}
