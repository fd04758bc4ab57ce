/* Threads that are cancelled at any moment, in each call that waits: nothing stays locked, no
 * descriptor is left, and the queues work on. */
#include "waits.h"

#define AT_ONCE 6

static struct set shared;

struct thread {
	pthread_t thread;
	enum how how;
	struct set set;
	_Atomic int cleaned;
};

static void cleaned(void *arg)
{
	((struct thread *)arg)->cleaned = 1;
}

static void *waits(void *arg)
{
	struct thread *self = arg;
	char ready[PIPES];

	pthread_cleanup_push(cleaned, self);
	for (int round = 0;; round++) {
		struct kevent kev;

		/* For ever if nothing is there: a byte comes and goes. */
		int n = wait_by(&self->set, self->how, round % 3 == 2 ? -1 : round % 3, NULL, ready);

		CHECK(n >= 0);
		/* A change that is applied, and its opposite, on a queue that all share. */
		EV_SET(&kev, (uintptr_t)self, EVFILT_USER, round % 2 ? EV_DELETE : EV_ADD, 0, 0, NULL);
		CHECK(kevent(shared.kq, &kev, 1, NULL, 0, NULL) == 0);
	}
	pthread_cleanup_pop(0);
	return NULL;
}

int main(void)
{
	static struct thread threads[AT_ONCE];
	int open = 0;
	long count = cases(240);

	make_set(&shared);
	works(&shared);
	/* The first round's threads make what stays. */
	for (long n = 0; n < count; n += AT_ONCE) {
		for (int i = 0; i < AT_ONCE; i++) {
			struct thread *thread = &threads[i];

			memcpy(&thread->set, &shared, sizeof(shared));
			thread->how = (enum how)((n + i) % HOWS);
			thread->cleaned = 0;
			CHECK(pthread_create(&thread->thread, NULL, waits, thread) == 0);
		}
		for (int pause = rand() % 30; pause > 0; pause--) {
			int at = rand() % PIPES;

			if (pause % 4 == 0)
				CHECK(write(shared.fds[at][1], "x", 1) == 1);
			sched_yield();
			drain(shared.fds[at][0]);
		}
		for (int i = 0; i < AT_ONCE; i++) {
			CHECK(pthread_cancel(threads[i].thread) == 0);
			if (i % 2)
				sched_yield();
		}
		for (int i = 0; i < AT_ONCE; i++) {
			struct kevent kev;
			void *result;

			CHECK(pthread_join(threads[i].thread, &result) == 0);
			CHECK(result == PTHREAD_CANCELED && threads[i].cleaned);
			EV_SET(&kev, (uintptr_t)&threads[i], EVFILT_USER, EV_DELETE, 0, 0, NULL);
			CHECK(kevent(shared.kq, &kev, 1, NULL, 0, NULL) == 0 || errno == ENOENT);
		}
		if (n == 10 * AT_ONCE)
			open = open_descriptors();
	}
	CHECK(open_descriptors() <= open);
	for (int i = 0; i < PIPES; i++)
		drain(shared.fds[i][0]);
	works(&shared);
	close_set(&shared);
	return 0;
}
