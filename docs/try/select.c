/* Selects 400 pipes, of which one has something to read: any program that calls select. */
#include <stdio.h>
#include <sys/select.h>
#include <unistd.h>

int main(void)
{
	int pipes[400][2], ready = 0;

	for (int i = 0; i < 400; i++)
		if (pipe(pipes[i]) == -1)
			return 1;
	if (write(pipes[200][1], "x", 1) != 1)
		return 1;
	for (int calls = 0; calls < 1000; calls++) {
		fd_set readers;

		FD_ZERO(&readers);
		for (int i = 0; i < 400; i++)
			FD_SET(pipes[i][0], &readers);
		ready += select(pipes[399][1] + 1, &readers, NULL, NULL, NULL);
	}
	printf("1000 calls, %d results\n", ready);
	return 0;
}
