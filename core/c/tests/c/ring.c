/* The event ring. */
#include "check.h"

#define N 100

static void trigger(int kq, uintptr_t ident)
{
	CHECK(change(kq, ident, EVFILT_USER, EV_ADD | EV_ONESHOT, 0, 0) == 0);
	CHECK(change(kq, ident, EVFILT_USER, 0, NOTE_TRIGGER, 0) == 0);
}

static void one_thread(int kq, struct kevent_ring *ring)
{
	struct kevent events[8], again[8];
	uint64_t position, other;

	CHECK(kevent_ring_wait(ring, &now) == 0);
	CHECK(kevent_ring_take(ring, events, 8) == 0);
	for (uintptr_t i = 0; i < 5; i++)
		trigger(kq, i);
	/* Room for four: the fifth stays in the queue. */
	CHECK(kevent_ring_wait(ring, NULL) == 4);
	CHECK(kevent_ring_overflows(ring) == 1);
	CHECK(kevent_ring_fill(ring) == 0);
	CHECK(kevent_ring_read(ring, events, 2, &position) == 2);
	CHECK(kevent_ring_read(ring, again, 8, &other) == 4);
	CHECK(events[1].ident == 1 && again[3].ident == 3);
	CHECK(kevent_ring_commit(ring, position, 2) == 0);
	FAILS(kevent_ring_commit(ring, other, 4), EAGAIN);
	FAILS(kevent_ring_commit(ring, 2, 3), EAGAIN);
	CHECK(kevent_ring_fill(ring) == 1);
	CHECK(kevent_ring_take(ring, events, 8) == 3);
	CHECK(events[0].ident == 2 && events[2].ident == 4);
}

struct shared {
	struct kevent_ring *ring;
	int taken;
};

static void *consumer(void *arg)
{
	struct shared *shared = arg;
	struct kevent event;

	while (__atomic_load_n(&shared->taken, __ATOMIC_RELAXED) < N) {
		struct timespec moment = { 0, 1000000 };

		CHECK(kevent_ring_wait(shared->ring, &moment) >= 0);
		if (kevent_ring_take(shared->ring, &event, 1) == 1)
			__atomic_add_fetch(&shared->taken, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void several_threads(int kq, struct kevent_ring *ring)
{
	struct shared shared = { ring, 0 };
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&threads[i], NULL, consumer, &shared) == 0);
	for (uintptr_t i = 0; i < N; i++)
		trigger(kq, i);
	for (int i = 0; i < 3; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CHECK(shared.taken == N);
}

int main(void)
{
	int kq = kqueue();
	struct kevent_ring *ring = kevent_ring_open(kq, 4);

	CHECK(kq >= 0 && ring != NULL);
	errno = 0;
	CHECK(kevent_ring_open(kq, 4) == NULL && errno == EINVAL);
	errno = 0;
	CHECK(kevent_ring_open(0, 4) == NULL && errno == EBADF);
	one_thread(kq, ring);
	several_threads(kq, ring);
	CHECK(close(kq) == 0);
	FAILS(kevent_ring_wait(ring, NULL), EBADF);
	kevent_ring_close(ring);
	kevent_ring_close(NULL);
	return 0;
}
