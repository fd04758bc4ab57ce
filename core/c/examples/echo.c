/*
 * An echo server with one kqueue: connections, a signal that ends it, a timer that says what it did,
 * and a file whose changes it tells.
 *
 *   cc -I../include echo.c -L../../../target/release -lkqcompat_kqueue -o echo
 *   ./echo FILE
 *
 * It prints the port that it listens on (of the loopback address), and ends at SIGTERM.
 */
#include <sys/event.h>

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int kq;
static unsigned long connections, bytes;

static void watch(uintptr_t ident, short filter, unsigned short flags, unsigned int fflags,
    int64_t data)
{
	struct kevent change;

	EV_SET(&change, ident, filter, EV_ADD | flags, fflags, data, NULL);
	if (kevent(kq, &change, 1, NULL, 0, NULL) == -1)
		err(1, "kevent");
}

static int listen_on_loopback(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
	    .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t length = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd == -1 || bind(fd, (struct sockaddr *)&address, length) == -1 ||
	    listen(fd, 16) == -1 || getsockname(fd, (struct sockaddr *)&address, &length) == -1)
		err(1, "socket");
	printf("port %d\n", ntohs(address.sin_port));
	return fd;
}

static void greet(int listener, int64_t waiting)
{
	/* data is how many connections wait. */
	while (waiting-- > 0) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (fd == -1)
			err(1, "accept");
		connections++;
		watch(fd, EVFILT_READ, 0, 0, 0);
	}
}

static void echo(const struct kevent *event)
{
	char buffer[4096];
	size_t wanted = event->data < (int64_t)sizeof(buffer) ? (size_t)event->data : sizeof(buffer);
	ssize_t n = wanted > 0 ? read((int)event->ident, buffer, wanted) : 0;

	if (n > 0 && write((int)event->ident, buffer, (size_t)n) == n) {
		bytes += (unsigned long)n;
	} else if (n <= 0 && (event->flags & EV_EOF)) {
		/* Its knotes go with it. */
		close((int)event->ident);
	}
}

int main(int argc, char **argv)
{
	int listener, file;

	if (argc != 2)
		errx(2, "usage: echo FILE");
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	/* The queue counts the signal; nothing else is to come of it. */
	signal(SIGTERM, SIG_IGN);
	if ((kq = kqueue()) == -1 || (file = open(argv[1], O_RDONLY | O_CLOEXEC)) == -1)
		err(1, "%s", argv[1]);
	watch(SIGTERM, EVFILT_SIGNAL, 0, 0, 0);
	watch(1, EVFILT_TIMER, 0, NOTE_MSECONDS, 100);
	watch(file, EVFILT_VNODE, EV_CLEAR, NOTE_WRITE | NOTE_EXTEND | NOTE_DELETE, 0);
	listener = listen_on_loopback();
	watch(listener, EVFILT_READ, 0, 0, 0);

	for (unsigned long ticks = 0;;) {
		struct kevent events[16];
		int n = kevent(kq, NULL, 0, events, 16, NULL);

		if (n == -1 && errno != EINTR)
			err(1, "kevent");
		for (int i = 0; i < n; i++) {
			struct kevent *event = &events[i];

			switch (event->filter) {
			case EVFILT_READ:
				if ((int)event->ident == listener)
					greet(listener, event->data);
				else
					echo(event);
				break;
			case EVFILT_VNODE:
				printf("%s: %s%s\n", argv[1],
				    event->fflags & NOTE_WRITE ? "written" : "",
				    event->fflags & NOTE_DELETE ? "deleted" : "");
				break;
			case EVFILT_TIMER:
				ticks += (unsigned long)event->data;
				break;
			case EVFILT_SIGNAL:
				printf("%lu connections, %lu bytes, %s\n", connections, bytes,
				    ticks > 0 ? "ticked" : "no tick");
				return 0;
			}
		}
	}
}
