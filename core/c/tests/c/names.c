/* NOTE_CREATE, NOTE_REMOVE, and the names. */
#include "check.h"

#include <sys/stat.h>

int main(void)
{
	char dir[] = "/tmp/kqcompat-names-XXXXXX";
	struct kevent_entry entry;
	struct kevent kev;
	int kq = kqueue(), fd;

	CHECK(mkdtemp(dir) != NULL);
	fd = open(dir, O_RDONLY | O_DIRECTORY);
	CHECK(kq >= 0 && fd >= 0);
	FAILS(kevent_entry(kq, fd, &entry), ENOENT);
	CHECK(change(kq, fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_CREATE | NOTE_REMOVE, 0) == 0);
	CHECK(kevent_entry(kq, fd, &entry) == 0);
	CHECK(mkdirat(fd, "one", 0700) == 0);
	CHECK(renameat(fd, "one", fd, "two") == 0);
	CHECK(ready(kq, &kev) == 1 && kev.fflags == (NOTE_CREATE | NOTE_REMOVE));
	CHECK(kevent_entry(kq, fd, &entry) == 1);
	CHECK(entry.fflags == NOTE_CREATE && strcmp(entry.name, "one") == 0);
	CHECK(kevent_entry(kq, fd, &entry) == 1);
	CHECK(entry.fflags == (NOTE_REMOVE | NOTE_RENAME) && strcmp(entry.name, "one") == 0);
	CHECK(kevent_entry(kq, fd, &entry) == 1);
	CHECK(entry.fflags == (NOTE_CREATE | NOTE_RENAME) && strcmp(entry.name, "two") == 0);
	CHECK(kevent_entry(kq, fd, &entry) == 0);
	FAILS(kevent_entry(fd, fd, &entry), EBADF);
	FAILS(kevent_entry(kq, fd, NULL), EFAULT);
	CHECK(unlinkat(fd, "two", AT_REMOVEDIR) == 0);
	CHECK(rmdir(dir) == 0);
	return 0;
}
