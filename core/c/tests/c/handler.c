/* kevent() in a signal handler, also in one that has interrupted kevent() on the same queue. */
#include "check.h"

#include <aio.h>
#include <sys/time.h>

#define KNOTES 2000

static int kq;
static volatile sig_atomic_t triggered, deadlocks, wrong;
static struct aiocb none;

static void handler(int signal)
{
	struct kevent kev;
	int saved = errno, n;

	(void)signal;
	EV_SET(&kev, 1, EVFILT_USER, EV_KEEPUDATA, NOTE_TRIGGER, 0, NULL);
	if (kevent(kq, &kev, 1, NULL, 0, NULL) != 0)
		wrong++;
	triggered++;
	n = kevent(kq, NULL, 0, &kev, 1, &now);
	if (n == -1 && errno == EDEADLK)
		deadlocks++;
	else if (n != 1)
		wrong++;
	if (aio_error(&none) == 0)
		wrong++;
	errno = saved;
}

int main(void)
{
	static struct kevent changes[KNOTES];
	struct sigaction sa;
	struct kevent kev;
	struct itimerval often = { { 0, 700 }, { 0, 700 } }, never = { { 0, 0 }, { 0, 0 } };

	alarm(60);
	CHECK((kq = kqueue()) >= 0);
	CHECK(change(kq, 1, EVFILT_USER, EV_ADD, 0, 0) == 0);
	for (int i = 0; i < KNOTES; i++)
		EV_SET(&changes[i], 100 + i, EVFILT_USER, EV_ADD, 0, 0, NULL);
	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = handler;
	CHECK(sigaction(SIGPROF, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &often, NULL) == 0);
	/* Most of the time is spent in the queue. */
	while (deadlocks < 20)
		CHECK(kevent(kq, changes, KNOTES, NULL, 0, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &never, NULL) == 0);
	CHECK(triggered >= 20 && wrong == 0);

	/* The last trigger is there. */
	CHECK(ready(kq, &kev) == 1 && kev.ident == 1);

	/* Each is: none is seen to later than when the interrupted call returns. */
	for (int i = 0; i < 40; i++) {
		int before = triggered;

		CHECK(change(kq, 1, EVFILT_USER, EV_CLEAR, 0, 0) == 0);
		CHECK(setitimer(ITIMER_PROF, &(struct itimerval){ { 0, 0 }, { 0, 200 } }, NULL) == 0);
		while (triggered == before)
			CHECK(kevent(kq, changes, KNOTES, NULL, 0, NULL) == 0);
		CHECK(ready(kq, &kev) == 1 && kev.ident == 1);
	}
	return wrong;
}
