/* Children of every kind, of a parent whose threads wait in each call meanwhile: the threads miss
 * nothing, the child's calls work on what it inherits and on what it makes, also when it has closed
 * every number, and what it executes inherits nothing of the libraries. */
#include "waits.h"

extern char **environ;

/* Each waits for a set of its own; a byte is answered on the way back. */
struct thread {
	pthread_t thread;
	enum how how;
	struct set set;
	int back[2];
};

static struct thread threads[HOWS];
static const char *self;
/* How many descriptors the program was started with, as text. */
static char inherited[16];

static void *answers(void *arg)
{
	struct thread *thread = arg;
	char ready[PIPES];

	for (;;) {
		CHECK(wait_by(&thread->set, thread->how, -1, NULL, ready) == 1);
		for (int i = 0; i < PIPES; i++) {
			CHECK(!ready[i] || drain(thread->set.fds[i][0]) == 1);
			if (ready[i] && i == PIPES - 1)
				return NULL;
		}
		CHECK(write(thread->back[1], "a", 1) == 1);
	}
}

/* Each thread gets a byte, and answers. */
static void all_answer(int at)
{
	for (int i = 0; i < HOWS; i++) {
		char byte;

		CHECK(write(threads[i].set.fds[at][1], "q", 1) == 1);
		CHECK(read(threads[i].back[0], &byte, 1) == 1);
	}
}

/* Closes all from a number on, in a way that no library sees. */
static void close_unseen(unsigned first)
{
#if defined(__x86_64__)
	long result;

	__asm__ volatile("syscall" : "=a"(result)
	    : "a"(SYS_close_range), "D"((long)first), "S"(~0UL >> 32), "d"(0)
	    : "rcx", "r11", "memory");
	CHECK(result == 0);
#else
	CHECK(close_range(first, ~0U, 0) == 0);
#endif
}

/* A set of its own works. */
static void has_its_own(void)
{
	static struct set own;

	make_set(&own);
	works(&own);
	close_set(&own);
}

/* What it inherits by number is the parent's, and what it asks changes nothing there. */
static void inherits(void)
{
	struct set *set = &threads[0].set;
	/* One that the parent leaves alone meanwhile. */
	struct pollfd one = { set->fds[PIPES - 1][0], POLLIN, 0 };
	struct timespec now = { 0, 0 };
	struct kevent kev;

	CHECK(poll(&one, 1, 0) == 0);
	CHECK(kevent(set->kq, NULL, 0, &kev, 1, &now) == -1 && errno == EBADF);
	for (int i = 0; i < PIPES; i++)
		CHECK(close(set->fds[i][0]) == 0);
	CHECK(close(set->kq) == 0 && close(set->ep) == 0);
}

static void closes_each(void)
{
	for (int fd = 3; fd < 2048; fd++)
		close(fd);
}

static void closes_a_range(void)
{
	CHECK(close_range(3, ~0U, 0) == 0);
}

static void closes_unseen(void)
{
	close_unseen(3);
}

static void nothing(void)
{
}

static void (*const deeds[])(void) = { nothing, inherits, closes_each, closes_a_range, closes_unseen };
#define DEEDS (sizeof(deeds) / sizeof(deeds[0]))

static void ended_well(pid_t child)
{
	int status;

	CHECK(child > 0 && waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks(int n)
{
	pid_t child = fork();

	if (child == 0) {
		deeds[n % DEEDS]();
		has_its_own();
		/* Once more, by a child of the child. */
		if ((child = fork()) == 0) {
			closes_unseen();
			has_its_own();
			_exit(0);
		}
		ended_well(child);
		_exit(0);
	}
	all_answer(n % (PIPES - 1));
	ended_well(child);
}

static void vforks(void)
{
	pid_t child;

	if ((child = vfork()) == 0) {
		for (int i = 0; i < HOWS; i++)
			close(threads[i].set.fds[4][0]);
		execl(self, self, inherited, (char *)NULL);
		_exit(2);
	}
	all_answer(4);
	ended_well(child);
}

static void spawns(void)
{
	char *argv[] = { (char *)self, inherited, NULL };
	posix_spawn_file_actions_t actions;
	pid_t child;

	CHECK(posix_spawn_file_actions_init(&actions) == 0);
	CHECK(posix_spawn_file_actions_addclose(&actions, threads[0].set.fds[5][0]) == 0);
	CHECK(posix_spawn_file_actions_adddup2(&actions, 2, threads[1].set.fds[5][0]) == 0);
	CHECK(posix_spawn_file_actions_addclose(&actions, threads[1].set.fds[5][0]) == 0);
	CHECK(posix_spawn(&child, self, &actions, NULL, argv, environ) == 0);
	CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
	all_answer(5);
	ended_well(child);
}

/* daemon(3) forks, and closes and opens standard numbers where no library sees it. */
static void becomes_a_daemon(void)
{
	int tell[2];
	char byte;
	pid_t child;

	CHECK(pipe(tell) == 0);
	if ((child = fork()) == 0) {
		static struct set set;

		make_set(&set);
		works(&set);
		CHECK(daemon(0, 0) == 0);
		/* A fork has no kqueue; all else it has. */
		CHECK(close(set.kq) == 0 && (set.kq = kqueue()) >= 0);
		for (int i = 0; i < PIPES; i++) {
			struct kevent kev;

			EV_SET(&kev, (uintptr_t)set.fds[i][0], EVFILT_READ, EV_ADD, 0, 0, (void *)(intptr_t)i);
			CHECK(kevent(set.kq, &kev, 1, NULL, 0, NULL) == 0);
		}
		works(&set);
		CHECK(write(tell[1], "d", 1) == 1);
		_exit(0);
	}
	ended_well(child);
	CHECK(close(tell[1]) == 0);
	CHECK(read(tell[0], &byte, 1) == 1);
	CHECK(close(tell[0]) == 0);
}

int main(int argc, char **argv)
{
	long rounds;
	int open;

	if (argc > 1)
		return open_descriptors() == atoi(argv[1]) ? 0 : 3;
	snprintf(inherited, sizeof(inherited), "%d", open_descriptors());
	self = argv[0];
	rounds = cases(12);
	for (int i = 0; i < HOWS; i++) {
		struct thread *thread = &threads[i];

		thread->how = (enum how)i;
		make_set(&thread->set);
		CHECK(pipe2(thread->back, O_CLOEXEC) == 0);
		works(&thread->set);
		CHECK(pthread_create(&thread->thread, NULL, answers, thread) == 0);
	}
	for (int i = 0; i < 40; i++)
		all_answer(i % (PIPES - 1));
	open = open_descriptors();
	for (int n = 0; n < rounds; n++) {
		forks(n);
		vforks();
		spawns();
	}
	becomes_a_daemon();
	CHECK(open_descriptors() == open);
	/* The parent loses all that the libraries have, unseen; its threads have no use for their sets. */
	for (int i = 0; i < HOWS; i++)
		CHECK(write(threads[i].set.fds[PIPES - 1][1], "e", 1) == 1 &&
		    pthread_join(threads[i].thread, NULL) == 0);
	closes_unseen();
	has_its_own();
	return 0;
}
