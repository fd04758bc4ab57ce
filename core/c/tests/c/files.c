/* Files that are watched for writes alone: where closes are hooked, their stat is not looked at. */
#include "check.h"

#include <sys/stat.h>

static int file(void)
{
	char name[] = "/tmp/kqcompat-files.XXXXXX";
	int fd = mkstemp(name);

	CHECK(fd >= 0 && unlink(name) == 0);
	return fd;
}

/* What a write is reported as. */
static unsigned int written(int kq, int fd, off_t at)
{
	struct kevent kev;

	CHECK(pwrite(fd, "x", 1, at) == 1);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1);
	CHECK(kev.filter == EVFILT_VNODE && kev.ident == (uintptr_t)fd);
	return kev.fflags;
}

int main(void)
{
	int kq = kqueue(), fd = file(), copy, other = file();

	CHECK(kq >= 0);
	CHECK(change(kq, fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0) == 0);
	CHECK(written(kq, fd, 0) == NOTE_WRITE);
	CHECK(written(kq, fd, 1) == NOTE_WRITE);
	CHECK(ready(kq, NULL) == 0);
	/* From when it is asked for, growth is told; what had grown before is not. */
	CHECK(change(kq, fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE | NOTE_EXTEND, 0) == 0);
	CHECK(written(kq, fd, 0) == NOTE_WRITE);
	CHECK(written(kq, fd, 2) == (NOTE_WRITE | NOTE_EXTEND));
	CHECK(change(kq, fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0) == 0);

	/* A closed number has no knote, though its file lives and is written, told already or not. */
	CHECK((copy = dup(fd)) >= 0);
	CHECK(pwrite(copy, "x", 1, 0) == 1);
	CHECK(dup2(other, fd) == fd);
	CHECK(pwrite(copy, "x", 1, 0) == 1 && pwrite(other, "x", 1, 0) == 1);
	CHECK(ready(kq, NULL) == 0);
	FAILS(change(kq, fd, EVFILT_VNODE, EV_DELETE, 0, 0), ENOENT);

	/* What else happened is told beside a write. */
	CHECK(change(kq, copy, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE | NOTE_ATTRIB, 0) == 0);
	CHECK(fchmod(copy, 0400) == 0);
	CHECK(written(kq, copy, 0) == (NOTE_WRITE | NOTE_ATTRIB));
	return 0;
}
