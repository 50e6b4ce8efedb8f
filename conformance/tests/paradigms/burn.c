/*
 * A server that uses a known amount of processor time for each message, and writes down what
 * getrusage(2) tells of it so far after each. Its clients are served one after the other.
 *
 *   burn PORT HOW MICROSECONDS RECORD
 *
 * HOW: here (in this thread), thread (in a thread that ends), child (in a child that is waited for),
 * grandchild (in a child of that), alone (in a child that nobody waits for), close (in no way: it ends
 * after some messages), slow (in no way: it reads ten times a second), answer (in no way: it answers).
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 4096 };

static long microseconds;
static const char *record;

static long used(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void *burn(void *unused)
{
	long begin = used(CLOCK_THREAD_CPUTIME_ID);
	while (used(CLOCK_THREAD_CPUTIME_ID) - begin < microseconds)
		;
	return unused;
}

static void note(long total)
{
	char line[32];
	int length = snprintf(line, sizeof line, "%ld\n", total);
	int file = open(record, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (file < 0 || write(file, line, length) != length)
		exit(4);
	close(file);
}

static long of(int who)
{
	struct rusage usage;
	getrusage(who, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
	       usage.ru_stime.tv_usec;
}

static void in_child(int generations)
{
	pid_t child = fork();
	if (child == 0) {
		if (generations > 1)
			in_child(generations - 1);
		else
			burn(NULL);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		exit(5);
}

static void serve(int client, const char *how)
{
	static char buffer[MESSAGE];
	int messages = 0;
	for (;;) {
		size_t had = 0;
		while (had < MESSAGE) {
			int slow = strcmp(how, "slow") == 0;
			ssize_t length = read(client, buffer + had, slow ? 1000 : MESSAGE - had);
			if (length <= 0)
				return;
			if (slow)
				usleep(100000);
			else
				had += length;
		}
		messages++;
		if (strcmp(how, "close") == 0 && messages == 5)
			exit(6);
		if (strcmp(how, "answer") == 0 && write(client, "\n", 1) != 1)
			return;
		if (strcmp(how, "here") == 0)
			burn(NULL);
		if (strcmp(how, "thread") == 0) {
			pthread_t thread;
			if (pthread_create(&thread, NULL, burn, NULL) || pthread_join(thread, NULL))
				exit(7);
		}
		if (strcmp(how, "child") == 0)
			in_child(1);
		if (strcmp(how, "grandchild") == 0)
			in_child(2);
		if (strcmp(how, "alone") == 0) {
			if (fork() == 0) {
				burn(NULL);
				note(used(CLOCK_PROCESS_CPUTIME_ID));
				_exit(0);
			}
			continue;
		}
		note(of(RUSAGE_SELF) + of(RUSAGE_CHILDREN));
	}
}

int main(int count, char **arguments)
{
	if (count != 5)
		return 2;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	microseconds = atol(arguments[3]);
	record = arguments[4];
	if (strcmp(arguments[2], "alone") == 0)
		signal(SIGCHLD, SIG_IGN);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 16)) {
		perror("burn");
		return 3;
	}
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client >= 0) {
			serve(client, arguments[2]);
			close(client);
		}
	}
}
