/*
 * A web server of one process that serves one connection after the other, or of two such workers and
 * a master that replaces them, for the tests of `forkproof bench web`: it answers well, or wrong in a way that its second argument names, and can
 * tell how much processor time it has used.
 *
 *	answers PORT HOW SITE [MICROSECONDS RECORD]
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *how, *site, *record;
static long microseconds;

static int is(const char *word)
{
	return strcmp(how, word) == 0;
}

static long used(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void burn(void)
{
	for (long end = used() + microseconds; used() < end;)
		;
}

static void note(void)
{
	char line[32];
	int length = snprintf(line, sizeof line, "%ld\n", used());
	int file = open(record, O_WRONLY | O_APPEND | O_CREAT, 0600);
	if (file < 0 || write(file, line, length) != length)
		exit(6);
	close(file);
}

/* Whether the client has taken all of it. */
static int put(int client, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t count = write(client, bytes, length);
		if (count <= 0)
			return 0;
		bytes += count;
		length -= count;
	}
	return 1;
}

static char *content(const char *name, size_t *length)
{
	char path[1024];
	snprintf(path, sizeof path, "%s%s", site, name);
	struct stat about;
	int file = open(path, O_RDONLY);
	if (file < 0 || fstat(file, &about) < 0)
		return NULL;
	char *bytes = malloc(about.st_size);
	*length = read(file, bytes, about.st_size);
	close(file);
	return bytes;
}

/* Whether the connection is kept. */
static int answer(int client, char *request)
{
	char *name = strchr(request, ' ');
	char *end = name ? strchr(++name, ' ') : NULL;
	if (!end)
		return 0;
	*end++ = 0;
	int kept = strstr(end, "Connection: keep-alive") != NULL;
	size_t length = 0;
	char *bytes = content(name, &length);
	if (!bytes)
		exit(5);
	char head[256];
	const char *connection = kept ? "keep-alive" : "close";
	if (is("early"))
		return 0;
	if (is("burn"))
		burn();
	if (is("slow") || is("pool"))
		nanosleep(&(struct timespec){ .tv_nsec = microseconds * 1000 }, NULL);
	if (is("bytes"))
		bytes[length - 1] ^= 1;
	if (is("chunks"))
		snprintf(head, sizeof head,
			 "HTTP/1.1 200 OK\r\nConnection: %s\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n",
			 connection, length);
	else
		snprintf(head, sizeof head,
			 "HTTP/1.1 %s\r\nConnection: %s\r\nContent-Length: %zu\r\n\r\n",
			 is("status") ? "503 Busy" : "200 OK", connection,
			 is("length") ? length / 2 : length);
	int good = put(client, head, strlen(head));
	good = good && put(client, bytes, is("short") || is("length") ? length / 2 : length);
	if (is("chunks"))
		good = good && put(client, "\r\n0\r\n\r\n", 7);
	free(bytes);
	if (record)
		note();
	return good && kept && !is("short");
}

static void serve(int client)
{
	char request[4096];
	size_t length = 0;
	int asked = 0;
	while (length < sizeof request - 1) {
		ssize_t count = read(client, request + length, sizeof request - 1 - length);
		if (count <= 0)
			return;
		length += count;
		request[length] = 0;
		if (!strstr(request, "\r\n\r\n"))
			continue;
		length = 0;
		if (is("tires") && asked++ > 0)
			return;
		if (!answer(client, request))
			return;
	}
}

int main(int count, char **arguments)
{
	if (count != 4 && count != 6)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(atoi(arguments[1])) };
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	how = arguments[2];
	site = arguments[3];
	if (count == 6) {
		microseconds = atol(arguments[4]);
		record = arguments[5];
	}
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 128)) {
		perror("answers");
		return 3;
	}
	for (int workers = 0; is("pool");) {
		if (workers < 2) {
			if (fork() == 0)
				break;
			workers++;
		} else if (wait(NULL) > 0) {
			workers--;
		}
	}
	for (;;) {
		int client = accept(listener, NULL, NULL);
		if (client >= 0) {
			serve(client);
			close(client);
		}
	}
}
