/* For strace: a queue that has nothing to do does nothing. "idle" is written before and after. */
#include "check.h"

#include <dirent.h>

static int count(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int n = 0;

	CHECK(dir != NULL);
	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir);
	CHECK(closedir(dir) == 0);
	return n;
}

int main(void)
{
	struct timespec second = { 0, 20 * 1000 * 1000 };
	struct kevent kev;
	int fds[2], kq, before;

	pair(fds);
	before = count("/proc/self/fd");
	CHECK((kq = kqueue()) >= 0);
	CHECK(change(kq, fds[0], EVFILT_READ, EV_ADD, 0, 0) == 0);
	CHECK(write(fds[1], "x", 1) == 1 && ready(kq, &kev) == 1 && kev.data == 1);
	CHECK(read(fds[0], &kev, 1) == 1 && ready(kq, NULL) == 0);
	/* A queue owns one descriptor until a filter needs another, and no thread. */
	CHECK(count("/proc/self/fd") == before + 1);
	CHECK(change(kq, 1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS, 3600) == 0);
	CHECK(change(kq, 2, EVFILT_USER, EV_ADD, 0, 0) == 0);
	CHECK(count("/proc/self/task") == 1);
	/* Where the arguments lie has been looked at once when it matters; and that its own descriptors are
	 * there is not looked at for a while, so that the wait that counts looks at the beginning. */
	CHECK(kevent(kq, NULL, 0, &kev, 1, &second) == 0);
	second = (struct timespec){ 1, 0 };
	CHECK(write(2, "idle\n", 5) == 5);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &second) == 0);
	CHECK(write(2, "idle\n", 5) == 5);
	return 0;
}
