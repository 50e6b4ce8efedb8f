/*
 * The server of the book's examples: it forks for each client and sends back what the client says.
 *
 *     cc -o my-server my-server.c && ./my-server --port 7000
 *
 * It is right on Linux. On the BSDs and macOS it hangs up on a client that reads slowly: the first
 * chapter shows how forkproof finds that.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Needed where it is process 1, as in a container: the default action is none there. */
static void stop(int number)
{
    _exit(number == SIGTERM ? 0 : 1);
}

static void serve(int client)
{
    char bytes[4096];
    ssize_t count;
    struct pollfd ready = { .fd = client, .events = POLLIN };
    /* Who says nothing for ten minutes has gone. */
    while (poll(&ready, 1, 600 * 1000) > 0 && (count = read(client, bytes, sizeof bytes)) > 0)
        for (ssize_t sent = 0, more; sent < count; sent += more)
            if ((more = write(client, bytes + sent, (size_t)(count - sent))) < 0)
                _exit(1);
    _exit(0);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(argc == 3 ? (in_port_t)atoi(argv[2]) : 7000);
    /* Whoever started this may have ignored or blocked anything. */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGTERM, stop);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, SOMAXCONN) != 0) {
        perror("my-server: 127.0.0.1");
        return 1;
    }
    /* poll() may announce a client that has gone by the time of accept(). */
    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (;;) {
        struct pollfd ready = { .fd = listener, .events = POLLIN };
        poll(&ready, 1, -1);
        int client = accept(listener, NULL, NULL);
        if (client < 0) {
            /* Without descriptors it stays ready. */
            poll(NULL, 0, 100);
            continue;
        }
        if (fork() == 0) {
            close(listener);
            serve(client);
        }
        close(client);
    }
}
