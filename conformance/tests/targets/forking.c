/*
 * A server that forks for each client, for the tests: it sends back what a client says or, with -H,
 * answers HTTP. See server.h for the options that all servers have.
 *
 *   forking [-H] OPTIONS
 */
#include "server.h"

#include <sys/time.h>

#include "http.h"

static int speaks_http;

static void option(int letter, const char *value)
{
    if (letter == 'H')
        speaks_http = 1;
    (void)value;
}

/* Held by the parent alone, where children end with it. */
static int alive[2] = { -1, -1 };

static ssize_t receive(int client, char *bytes, size_t count)
{
    for (;;) {
        time_t begin = time(NULL);
        ssize_t received;
        if (defect("children-die-with-parent")) {
            struct pollfd either[2] = { { .fd = client, .events = POLLIN },
                                        { .fd = alive[0], .events = POLLIN } };
            if (poll(either, 2, -1) > 0 && either[1].revents != 0)
                _exit(1);
        }
        if (defect("busy-poll")) {
            struct pollfd ready = { .fd = client, .events = POLLIN };
            while (poll(&ready, 1, 1) == 0)
                ;
        }
        received = recv(client, bytes, count, 0);
        if (defect("idle-time-by-wall-clock") &&
            (time(NULL) > begin + 600 || time(NULL) < begin - 600))
            return 0;
        if (received == -1 && errno == EINTR && !defect("interrupted-read-ends-client"))
            continue;
        if (received == -1 && errno == ECONNRESET && defect("reset-client-stays"))
            pause();
        if (received == -1 && errno == EAGAIN && defect("nonblocking-client-spins"))
            continue;
        if (received == 0 && defect("end-of-client-spins"))
            continue;
        /* No defect: it only takes its time. */
        if (received == 0 && defect("ends-late"))
            poll(NULL, 0, 50);
        return received;
    }
}

static void serve_echo(int client)
{
    static char buffer[16384];
    ssize_t count;
    while ((count = receive(client, buffer, sizeof buffer)) > 0) {
        /* Waits a moment for more, and forgets at the end what it has. */
        if (defect("half-close-loses-what-was-read")) {
            struct pollfd more = { .fd = client, .events = POLLIN };
            char byte;
            if (poll(&more, 1, 100) > 0 && recv(client, &byte, 1, MSG_PEEK) == 0)
                return;
        }
        if (!send_all(client, buffer, (size_t)count))
            return;
    }
}

static void serve_http(int client)
{
    static char head[MOST_HEAD + 1], out[MOST_ANSWER];
    size_t held = 0;
    int done = 0;
    while (!done) {
        size_t length, answer;
        ssize_t count;
        while ((length = head_length(head, held)) == 0 && held < MOST_HEAD) {
            count = receive(client, head + held, MOST_HEAD - held);
            if (count <= 0)
                return;
            held += (size_t)count;
            head[held] = '\0';
        }
        answer = answer_head(head, length, out, &done);
        if (!send_all(client, out, answer))
            return;
        held -= length;
        memmove(head, head + length, held);
        head[held] = '\0';
    }
    /* Closed with unread bytes in it, the connection would be reset, and the answer lost. */
    if (shutdown(client, SHUT_WR) == 0) {
        struct timeval limit = { .tv_sec = 1 };
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        while (recv(client, head, MOST_HEAD, 0) > 0)
            ;
    }
}

static void be_a_child(int client)
{
    close_parents_descriptors();
    dispose(SIGTERM, SIG_DFL);
    dispose(SIGINT, SIG_DFL);
    dispose(SIGCHLD, SIG_DFL);
    dispose(SIGHUP, defect("no-sighup-handler") ? SIG_DFL : SIG_IGN);
    sigprocmask(SIG_SETMASK, &waiting, NULL);
    close(alive[1]);
    if (defect("interrupted-read-ends-client")) {
        /* With a time limit Linux interrupts it at SIGCONT, too. */
        struct timeval limit = { .tv_sec = 3600 };
        setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    }
    if (defect("nonblocking-client-spins"))
        fcntl(client, F_SETFL, fcntl(client, F_GETFL) | O_NONBLOCK);
    if (defect("closes-all-descriptors"))
        for (long fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++)
            if (fd != client)
                close((int)fd);
    if (defect("select-fd-setsize") && client >= FD_SETSIZE)
        /* As FD_SET does it where it is checked, "buffer overflow detected". */
        abort();
    if (speaks_http)
        serve_http(client);
    else
        serve_echo(client);
}

static void reap(void)
{
    int status;
    pid_t pid;
    child_ended = 0;
    if (defect("never-waits"))
        return;
    if (defect("waits-for-known-children-only")) {
        for (size_t at = children.count; at-- > 0;)
            if (waitpid(children.pids[at], NULL, WNOHANG) > 0)
                forget_child(children.pids[at]);
        return;
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (!defect("max-clients-never-freed"))
            forget_child(pid);
        if (defect("killed-child-ends-daemon") && WIFSIGNALED(status))
            die("child %ld: killed by signal %d", (long)pid, WTERMSIG(status));
        if (defect("one-wait-per-sigchld"))
            break;
    }
}

/* No defect: a process for all clients, which the first one makes the server start. */
static void start_helper(int client)
{
    static int started;
    pid_t child;
    if (started++ || !room_for_a_child())
        return;
    child = fork();
    if (child == 0) {
        close(client);
        close_parents_descriptors();
        dispose(SIGTERM, SIG_DFL);
        sigprocmask(SIG_SETMASK, &waiting, NULL);
        for (;;)
            pause();
    }
    if (child != -1)
        children.pids[children.count++] = child;
}

/* Sockets that the parent closes late only, where that is the defect. */
static int kept[1024];
static size_t kept_count;

static int accept_from(int listener)
{
    char peer[80];
    sigset_t all;
    pid_t child;
    int client = next_client(listener, 0, peer, sizeof peer);
    if (client < 0)
        return client;
    if (defect("select-fd-setsize") && client >= FD_SETSIZE)
        abort();
    if (options.most_clients != 0 && children.count >= options.most_clients) {
        close(client);
        return NOBODY;
    }
    if (!room_for_a_child()) {
        say("%s: refused: %s", peer, strerror(errno));
        close(client);
        return EXHAUSTED;
    }
    /* With open signals a child notes SIGTERM in its parent's handler, and forgets it. */
    if (defect("term-lost-after-fork"))
        sigprocmask(SIG_SETMASK, &waiting, &all);
    child = fork();
    if (child != 0 && defect("term-lost-after-fork"))
        sigprocmask(SIG_SETMASK, &all, NULL);
    if (child == 0) {
        be_a_child(client);
        _exit(0);
    }
    if (child == -1) {
        if (defect("fork-failure-exit"))
            die("fork: %s", strerror(errno));
        say("%s: refused: fork: %s", peer, strerror(errno));
        if (defect("fork-failure-keeps-client"))
            return NOBODY;
        close(client);
        return EXHAUSTED;
    }
    children.pids[children.count++] = child;
    if (defect("helper-on-demand"))
        start_helper(client);
    say("%s: served by process %ld", peer, (long)child);
    if (defect("memory-per-client")) {
        char *record = malloc(1024);
        if (record != NULL)
            memset(record, 1, 1024);
    }
    if (defect("siblings-inherit-clients") && kept_count < 1024) {
        kept[kept_count++] = client;
        return NOBODY;
    }
    if (!defect("client-socket-leaks-in-parent"))
        close(client);
    return NOBODY;
}

int main(int count, char **arguments)
{
    start(count, arguments, "H", option);
    set_up();
    if (defect("children-die-with-parent") && pipe(alive) == -1)
        die("pipe: %s", strerror(errno));
    announce();
    for (int paused = 0; !terminate;) {
        int ready = wait_for_clients(paused);
        paused = 0;
        if (child_ended) {
            reap();
            while (kept_count > 0)
                close(kept[--kept_count]);
        }
        if (hung_up) {
            hung_up = 0;
            say("nothing to read anew");
        }
        for (nfds_t at = 0; ready && at < listener_count; at++)
            if (listeners[at].revents != 0 && accept_from(listeners[at].fd) == EXHAUSTED)
                paused = 1;
    }
    end_children();
    end(0);
}
