/*
 * A master and its workers, for the tests: they share the listening sockets and answer HTTP. See
 * server.h for the options that all servers have.
 *
 *   prefork [-w WORKERS] OPTIONS
 */
#include "loop.h"

#include "http.h"

static size_t workers = 4;
/* Held by the master alone, so that its workers notice when it ends. */
static int alive[2];
/* After a worker that did not live long there is a pause before the next is started. */
static long pause_ends, pause_ms;

#define SHORT_LIFE_MS 500
#define LONGEST_PAUSE_MS 2000

static void option(int letter, const char *value)
{
    if (letter == 'w')
        workers = number(value, 1, 64);
}

static size_t answer(struct client *client)
{
    size_t length = head_length(client->in, client->held);
    int close;
    if ((length == 0 && client->held < MOST_REQUEST) || client->last ||
        client->unsent + MOST_ANSWER > MOST_ANSWERS)
        return 0;
    client->unsent +=
        answer_head(client->in, length, client->out + client->unsent, &close);
    client->last = close;
    return length;
}

static void be_a_worker(void)
{
    close(alive[1]);
    close(pid_file);
    watched = defect("workers-outlive-master") ? -1 : alive[0];
    dispose(SIGHUP, SIG_IGN);
    dispose(SIGCHLD, SIG_DFL);
    free(children.pids);
    if (defect("worker-crash-loop"))
        _exit(1);
    serve_clients(1);
    _exit(0);
}

/* When each was started: a worker that dies young is not replaced at once. */
static long started[64];
static pid_t pids[64];

/* Returns whether any is missing still. */
static int start_workers(void)
{
    for (size_t at = 0; at < workers; at++) {
        pid_t child;
        if (pids[at] != 0)
            continue;
        if (now_ms() < pause_ends)
            return 1;
        if (!room_for_a_child()) {
            pause_ends = now_ms() + PAUSE_MS;
            return 1;
        }
        child = fork();
        if (child == 0)
            be_a_worker();
        if (child == -1) {
            if (defect("fork-failure-exit"))
                die("fork: %s", strerror(errno));
            say("fork: %s", strerror(errno));
            pause_ends = now_ms() + PAUSE_MS;
            return 1;
        }
        pids[at] = child;
        started[at] = now_ms();
        children.pids[children.count++] = child;
    }
    return 0;
}

static void reap(void)
{
    int status;
    pid_t pid;
    child_ended = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        forget_child(pid);
        for (size_t at = 0; at < workers; at++) {
            if (pids[at] != pid)
                continue;
            say("worker %ld ended: %s %d", (long)pid, WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
            if (defect("worker-death-ends-master"))
                end(1);
            if (defect("worker-not-replaced"))
                continue;
            pids[at] = 0;
            if (now_ms() - started[at] >= SHORT_LIFE_MS || defect("crash-loop-unthrottled")) {
                pause_ms = 0;
                continue;
            }
            pause_ms = pause_ms == 0 ? PAUSE_MS : 2 * pause_ms;
            if (pause_ms > LONGEST_PAUSE_MS)
                pause_ms = LONGEST_PAUSE_MS;
            pause_ends = now_ms() + pause_ms;
        }
    }
}

int main(int count, char **arguments)
{
    int missing;
    start(count, arguments, "w:", option);
    set_up();
    if (pipe(alive) == -1)
        die("pipe: %s", strerror(errno));
    fcntl(alive[0], F_SETFD, FD_CLOEXEC);
    fcntl(alive[1], F_SETFD, FD_CLOEXEC);
    /* A worker that is forked before keeps the launcher's output open. */
    if (defect("workers-keep-launchers-output"))
        start_workers();
    announce();
    missing = start_workers();
    while (!terminate) {
        long now = now_ms(), left = pause_ends > now ? pause_ends - now : 0;
        struct timespec pause = { .tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000L };
        if (ppoll(NULL, 0, missing ? &pause : NULL, &waiting) == -1 && errno != EINTR)
            die("poll: %s", strerror(errno));
        if (child_ended)
            reap();
        if (hung_up) {
            hung_up = 0;
            say("nothing to read anew");
        }
        if (!terminate)
            missing = start_workers();
    }
    end_children();
    end(0);
}
