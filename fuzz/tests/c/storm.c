/* A storm of signals over each call that waits; the handler polls, selects and writes to one of the
 * pipes. Each byte is seen, no call reports a pipe that has none, and EINTR comes of a handler alone. */
#include "waits.h"

/* The pipe that the handler writes to. */
#define HANDLERS 5

static struct set set, handlers_set;
static long signals;
static atomic_long handled, written, fed;
static atomic_int over, done;
static pthread_t waiter;

static void handler(int signal)
{
	int saved = errno;
	char ready[PIPES];
	enum how how = handled % 4;

	(void)signal;
	/* Its own set, which has one byte for ever, and the one that was interrupted. */
	CHECK(wait_by(&handlers_set, how, how % 2 ? -1 : 0, NULL, ready) == 1 && ready[7]);
	CHECK(poll(&(struct pollfd){ set.fds[HANDLERS][0], POLLIN, 0 }, 1, 0) >= 0);
	if (write(set.fds[HANDLERS][1], "h", 1) == 1)
		written++;
	else
		CHECK(errno == EAGAIN);
	handled++;
	errno = saved;
}

static void *storms(void *none)
{
	while (!over) {
		long before = handled;

		CHECK(pthread_kill(waiter, SIGUSR1) == 0);
		/* One at a time: the kernel merges them, and the waiter is to come to something between. */
		while (!over && handled == before)
			sched_yield();
		for (int n = rand() % 20; n > 0; n--)
			sched_yield();
	}
	return none;
}

static void *feeds(void *none)
{
	long want = handled + signals;

	while (handled < want || fed % 1000 != 0) {
		fed++;
		while (write(set.fds[rand() % PIPES][1], "t", 1) != 1)
			sched_yield();
		if (fed % 8 == 0)
			sched_yield();
	}
	/* Whoever sleeps is woken after this is known. */
	done = 1;
	fed++;
	while (write(set.fds[0][1], "t", 1) != 1)
		sched_yield();
	return none;
}

/* All of it by one call; blocked: by a mask that lets no signal through. */
static void all_by(enum how how, const sigset_t *mask, int blocked)
{
	pthread_t storm, feed;
	long seen = 0, interrupted = 0;

	over = done = 0;
	fed = written = 0;
	CHECK(pthread_create(&storm, NULL, storms, NULL) == 0);
	CHECK(pthread_create(&feed, NULL, feeds, NULL) == 0);
	while (!done || seen < fed + written) {
		char ready[PIPES];
		long before = handled;
		int n = wait_by(&set, how, -1, mask, ready);

		if (n == -1) {
			CHECK(errno == EINTR && !blocked && handled > before);
			interrupted++;
			continue;
		}
		CHECK(n > 0);
		for (int i = 0; i < PIPES; i++) {
			long got = ready[i] ? drain(set.fds[i][0]) : 0;

			/* The handler does not read. */
			CHECK(!ready[i] || got > 0);
			seen += got;
		}
	}
	over = 1;
	CHECK(pthread_join(feed, NULL) == 0 && pthread_join(storm, NULL) == 0);
	for (int i = 0; i < PIPES; i++)
		seen += drain(set.fds[i][0]);
	CHECK(seen == fed + written);
	printf("%d: %ld bytes, interrupted %ld times\n", how, seen, interrupted);
}

int main(void)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	sigset_t usr1;
	char ready[PIPES];

	signals = cases(150);
	waiter = pthread_self();
	make_set(&set);
	make_set(&handlers_set);
	CHECK(write(handlers_set.fds[7][1], "x", 1) == 1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	for (enum how how = POLL; how < HOWS; how++) {
		all_by(how, NULL, 0);
		if (how == PPOLL || how == PSELECT || how == EPOLL_PWAIT)
			all_by(how, &usr1, 1);
	}
	for (enum how how = POLL; how < HOWS; how++)
		CHECK(wait_by(&set, how, 0, NULL, ready) == 0);
	return 0;
}
