/* Many clients in one process, with poll. A client that does not read is not read from. */
#ifndef LOOP_H
#define LOOP_H

#include "server.h"

#include <sys/select.h>

#define MOST_REQUEST 8192
#define MOST_ANSWERS 16384

struct client {
    int fd;
    /* Whether it has said all that it will, and whether it has been told all. */
    int ending, last;
    size_t held, unsent;
    char in[MOST_REQUEST + 1], out[MOST_ANSWERS];
};

static struct {
    struct client **all;
    struct pollfd *polled;
    size_t count, room;
} clients;

/* Answers the first request in `client->in`, if it is whole and there is room in `client->out`;
 * returns its length, or 0. */
static size_t answer(struct client *client);

/* Another descriptor that ends the loop when it can be read, as at its end. */
static int watched = -1;

static inline int add_client(int fd)
{
    struct client *client;
    if (clients.count == clients.room) {
        size_t room = clients.room + 256;
        struct client **all = realloc(clients.all, room * sizeof *all);
        struct pollfd *polled;
        if (all == NULL)
            return 0;
        clients.all = all;
        polled = realloc(clients.polled, (room + MOST_LISTENERS + 1) * sizeof *polled);
        if (polled == NULL)
            return 0;
        clients.polled = polled;
        clients.room = room;
    }
    client = calloc(1, sizeof *client);
    if (client == NULL)
        return 0;
    client->fd = fd;
    clients.all[clients.count++] = client;
    return 1;
}

static inline int send_answers(struct client *client)
{
    int failed = 0;
    while (client->unsent > 0) {
        ssize_t sent = send(client->fd, client->out, client->unsent, 0);
        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
            return !defect("short-write-lost") || (client->unsent = 0) == 0;
        if (sent == -1 && defect("sigpipe-default") && ++failed < 3)
            continue;
        if (sent == -1)
            return 0;
        client->unsent -= defect("short-write-lost") ? client->unsent : (size_t)sent;
        memmove(client->out, client->out + sent, client->unsent);
    }
    return 1;
}

static inline int answer_all(struct client *client)
{
    size_t length, before;
    do {
        before = client->unsent;
        length = answer(client);
        client->held -= length;
        memmove(client->in, client->in + length, client->held);
        client->in[client->held] = '\0';
        if (!send_answers(client))
            return 0;
        /* Where there was no room for an answer there may be now. */
    } while (length > 0 || (before > 0 && client->unsent == 0));
    return 1;
}

/* Hears and answers; 0 when the client is done with. */
static inline int serve(struct client *client, short events)
{
    if (client->unsent > 0 && !send_answers(client))
        return 0;
    if ((events & (POLLIN | POLLHUP | POLLERR)) && !client->ending && !client->last &&
        client->held < MOST_REQUEST) {
        ssize_t count =
            recv(client->fd, client->in + client->held, MOST_REQUEST - client->held, 0);
        while (defect("blocking-reads") && count > 0 &&
               memchr(client->in + client->held, '\n', (size_t)count) == NULL) {
            client->held += (size_t)count;
            count = recv(client->fd, client->in + client->held, MOST_REQUEST - client->held, 0);
        }
        if (count == -1 && errno == ECONNRESET && defect("econnreset-fatal"))
            die("recv: %s", strerror(errno));
        if (count == -1 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            return 0;
        if (count == 0 && !(defect("end-of-client-spins") && client->unsent == 0))
            client->ending = 1;
        if (count > 0)
            client->held += (size_t)count;
        client->in[client->held] = '\0';
    } else if (events & (POLLHUP | POLLERR)) {
        /* Reset: what it was to be told, nobody hears. */
        return 0;
    }
    if (!answer_all(client))
        return 0;
    /* A request that was not finished will not be. */
    return !((client->ending || client->last) && client->unsent == 0);
}

static inline void drop_client(size_t at)
{
    struct client *client = clients.all[at];
    /* A last word, without a look at whether anyone hears it. */
    if (defect("sigpipe-default") && send(client->fd, "bye\r\n", 5, 0) == -1)
        say("send: %s", strerror(errno));
    if (!defect("client-socket-leaks"))
        close(client->fd);
    if (!defect("memory-per-client"))
        free(client);
    clients.all[at] = clients.all[--clients.count];
}

static inline int wait_with_select(struct pollfd *polled, nfds_t count)
{
    fd_set in, out;
    int last = -1;
    FD_ZERO(&in);
    FD_ZERO(&out);
    for (nfds_t at = 0; at < count; at++) {
        if (polled[at].fd < 0)
            continue;
        if (polled[at].fd >= FD_SETSIZE)
            /* As FD_SET does it where it is checked, "buffer overflow detected". */
            abort();
        if (polled[at].events & POLLIN)
            FD_SET(polled[at].fd, &in);
        if (polled[at].events & POLLOUT)
            FD_SET(polled[at].fd, &out);
        if (polled[at].fd > last)
            last = polled[at].fd;
    }
    if (pselect(last + 1, &in, &out, NULL, NULL, &waiting) == -1)
        return -1;
    for (nfds_t at = 0; at < count; at++) {
        polled[at].revents = 0;
        if (polled[at].fd < 0)
            continue;
        if (FD_ISSET(polled[at].fd, &in))
            polled[at].revents |= POLLIN;
        if (FD_ISSET(polled[at].fd, &out))
            polled[at].revents |= POLLOUT;
    }
    return 1;
}

/* Accepts and serves until SIGTERM; with `gracefully` it then finishes what clients have asked. */
static inline void serve_clients(int gracefully)
{
    int paused = 0;
    long limit = 0;
    clients.polled = malloc((MOST_LISTENERS + 1) * sizeof *clients.polled);
    if (clients.polled == NULL)
        die("%s", strerror(errno));
    for (;;) {
        struct timespec wait = { .tv_nsec = PAUSE_MS * 1000000L };
        size_t first = listener_count + 1, known = clients.count;
        int timed = paused || terminate, ready;
        if (terminate && (!gracefully || clients.count == 0 || now_ms() >= limit))
            return;
        for (nfds_t at = 0; at < listener_count; at++) {
            clients.polled[at] = listeners[at];
            if (paused || terminate)
                clients.polled[at].fd = -1;
        }
        clients.polled[listener_count] = (struct pollfd){ .fd = watched, .events = POLLIN };
        for (size_t at = 0; at < known; at++) {
            struct client *client = clients.all[at];
            int events = client->unsent > 0 ? POLLOUT : POLLIN;
            clients.polled[first + at] =
                (struct pollfd){ .fd = client->fd, .events = (short)events };
        }
        if (defect("busy-poll")) {
            wait.tv_nsec = 0;
            timed = 1;
        }
        if (defect("select-fd-setsize"))
            ready = wait_with_select(clients.polled, first + known);
        else
            ready = ppoll(clients.polled, first + known, timed ? &wait : NULL, &waiting);
        if (ready == -1 && errno != EINTR)
            die("poll: %s", strerror(errno));
        if (terminate && limit == 0) {
            limit = now_ms() + END_MS;
            /* Who has not begun to ask is not answered any more. */
            for (size_t at = clients.count; gracefully && at-- > 0;)
                if (clients.all[at]->held == 0 && clients.all[at]->unsent == 0)
                    drop_client(at);
            continue;
        }
        if (child_ended) {
            child_ended = 0;
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        }
        paused = 0;
        if (ready == -1)
            continue;
        if (watched != -1 && clients.polled[listener_count].revents != 0)
            return;
        /* From the last on, since one that is dropped gives its place to the last. */
        for (size_t at = known; at-- > 0;)
            if (clients.polled[first + at].revents != 0 &&
                !serve(clients.all[at], clients.polled[first + at].revents))
                drop_client(at);
        for (nfds_t at = 0; at < listener_count; at++) {
            int fd;
            if (clients.polled[at].revents == 0)
                continue;
            fd = next_client(listeners[at].fd, !defect("blocking-writes") && !defect("blocking-reads"), NULL, 0);
            if (fd >= 0 && !add_client(fd)) {
                close(fd);
                fd = EXHAUSTED;
            }
            if (fd == EXHAUSTED)
                paused = 1;
        }
    }
}

#endif
