/* Long timeouts, signals, and cancellation. */
#include "check.h"

static void nothing(int signal)
{
	(void)signal;
}

static void install(int flags)
{
	struct sigaction action = { .sa_handler = nothing, .sa_flags = flags };

	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
}

static timer_t timer;

/* Again and again, since the first may come before the wait. */
static void alarm_every(long ms)
{
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
	struct itimerspec spec = { .it_value = time, .it_interval = time };

	CHECK(timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0);
	CHECK(timer_settime(timer, 0, &spec, NULL) == 0);
}

static void no_alarm(void)
{
	CHECK(timer_delete(timer) == 0);
}

/* A wait of 2^32 ms and more neither ends early nor overflows; a signal ends it. */
static void long_timeouts(int kq)
{
	struct timespec times[] = {
		{ 2147484, 0 }, { 4294967, 500000000 }, { (time_t)1 << 40, 0 },
		{ INT64_MAX, 999999999 },
	};
	struct kevent kev;

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		alarm_every(100);
		FAILS(kevent(kq, NULL, 0, &kev, 1, &times[i]), EINTR);
		no_alarm();
	}
	alarm_every(100);
	FAILS(kevent(kq, NULL, 0, &kev, 1, NULL), EINTR);
	no_alarm();
}

/* EINTR is never restarted, and comes after the changes; what is ready wins. */
static void interrupted(int kq)
{
	struct kevent kev;

	install(SA_RESTART);
	EV_SET(&kev, 5, EVFILT_USER, EV_ADD, 0, 0, 0);
	alarm_every(50);
	FAILS(kevent(kq, &kev, 1, &kev, 1, &long_time), EINTR);
	no_alarm();
	CHECK(change(kq, 5, EVFILT_USER, 0, NOTE_TRIGGER, 0) == 0);
	CHECK(raise(SIGALRM) == 0);
	CHECK(kevent(kq, NULL, 0, &kev, 1, &long_time) == 1);
	CHECK(change(kq, 5, EVFILT_USER, EV_DELETE, 0, 0) == 0);
}

static int shared, cleaned;

static void clean(void *unused)
{
	(void)unused;
	cleaned++;
}

static void *wait_for_ever(void *unused)
{
	struct kevent kev;

	(void)unused;
	pthread_cleanup_push(clean, NULL);
	kevent(shared, NULL, 0, &kev, 1, NULL);
	pthread_cleanup_pop(0);
	return NULL;
}

/* A thread that waits can be cancelled, and the queue goes on. */
static void cancelled(int kq)
{
	shared = kq;
	CHECK(change(kq, 6, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0) == 0);
	for (int i = 1; i <= 20; i++) {
		pthread_t thread;
		void *result;

		CHECK(pthread_create(&thread, NULL, wait_for_ever, NULL) == 0);
		nap(i % 4);
		CHECK(pthread_cancel(thread) == 0);
		CHECK(pthread_join(thread, &result) == 0);
		CHECK(result == PTHREAD_CANCELED && cleaned == i);
		CHECK(change(kq, 6, EVFILT_USER, 0, NOTE_TRIGGER, 0) == 0);
		CHECK(ready(kq, NULL) == 1 && ready(kq, NULL) == 0);
	}
}

int main(void)
{
	int kq = kqueue();

	CHECK(kq >= 0);
	install(0);
	long_timeouts(kq);
	interrupted(kq);
	cancelled(kq);
	return 0;
}
