/* Waits for a timer and for a pipe on one queue. */
#include <stdio.h>
#include <sys/event.h>
#include <unistd.h>

int main(void)
{
	struct kevent changes[2], event;
	int pipes[2], kq = kqueue();

	if (kq == -1 || pipe(pipes) == -1)
		return 1;
	EV_SET(&changes[0], 1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_MSECONDS, 20, NULL);
	EV_SET(&changes[1], pipes[0], EVFILT_READ, EV_ADD, 0, 0, NULL);
	if (kevent(kq, changes, 2, &event, 1, NULL) != 1)
		return 1;
	printf("the timer: %d\n", event.filter == EVFILT_TIMER);
	if (write(pipes[1], "hello", 5) != 5 || kevent(kq, NULL, 0, &event, 1, NULL) != 1)
		return 1;
	printf("%d bytes to read\n", (int)event.data);
	return 0;
}
