/*
 * A server with a thread for each client, for the tests: it sends back what a client says. See
 * server.h for the options.
 */
#include "server.h"

#include <pthread.h>

static void no_option(int letter, const char *value)
{
    (void)letter;
    (void)value;
}

static void *serve(void *argument)
{
    int client = (int)(long)argument;
    char buffer[16384];
    if (defect("sigpipe-default")) {
        sigset_t pipe;
        sigemptyset(&pipe);
        sigaddset(&pipe, SIGPIPE);
        pthread_sigmask(SIG_UNBLOCK, &pipe, NULL);
    }
    for (;;) {
        ssize_t count;
        if (defect("thread-polls")) {
            /* Looks again and again, instead of waiting. */
            const struct timespec moment = {0, 1000000};
            while (recv(client, buffer, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && errno == EAGAIN)
                nanosleep(&moment, NULL);
        }
        count = recv(client, buffer, sizeof buffer, 0);
        if (count == -1 && errno == EINTR)
            continue;
        if (count <= 0 || !send_all(client, buffer, (size_t)count))
            break;
    }
    /* A last word, without a look at whether anyone hears it. */
    if (defect("sigpipe-default") && send(client, "bye\n", 4, 0) == -1)
        say("send: %s", strerror(errno));
    if (!defect("thread-forgets-close"))
        close(client);
    else
        shutdown(client, SHUT_RDWR);
    return NULL;
}

static int accept_from(int listener, const pthread_attr_t *attributes)
{
    pthread_t thread;
    char peer[80];
    int error, client = next_client(listener, 0, peer, sizeof peer);
    if (client < 0)
        return client;
    error = pthread_create(&thread, attributes, serve, (void *)(long)client);
    if (error == 0)
        return NOBODY;
    if (defect("thread-failure-exit"))
        die("pthread_create: %s", strerror(error));
    say("%s: refused: pthread_create: %s", peer, strerror(error));
    close(client);
    return EXHAUSTED;
}

int main(int count, char **arguments)
{
    pthread_attr_t attributes;
    start(count, arguments, "", no_option);
    pthread_attr_init(&attributes);
    if (!defect("threads-never-joined"))
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (!defect("threads-with-large-stacks"))
        pthread_attr_setstacksize(&attributes, 128 * 1024);
    set_up();
    announce();
    /* Threads inherit the mask: all signals come here. */
    for (int paused = 0; !terminate;) {
        int ready = wait_for_clients(paused);
        paused = 0;
        hung_up = 0;
        if (child_ended && !defect("waits-for-known-children-only")) {
            /* As process 1 it is given children that it never had. */
            child_ended = 0;
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        }
        for (nfds_t at = 0; ready && at < listener_count; at++)
            if (listeners[at].revents != 0 && accept_from(listeners[at].fd, &attributes) == EXHAUSTED)
                paused = 1;
    }
    end(0);
}
