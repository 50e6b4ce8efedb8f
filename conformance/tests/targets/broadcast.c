/*
 * A line-broadcast server that forks, for the tests: one process for each client, a log under
 * flock, SIGUSR1 as the sign that there is news. It has no key and replays nothing.
 *
 *   broadcast [-k] [-x DEFECT] -l ADDRESS:PORT… LOG
 *
 * -k: SIGTERM ends the daemon and leaves its clients' processes, as some servers do.
 * -x: have this defect, one that real servers have had, at the place where they had it.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST_ADDRESSES 8

static volatile sig_atomic_t terminate, child_ended;

static const char *chosen;

static int defect(const char *name)
{
    return chosen != NULL && strcmp(chosen, name) == 0;
}

static void note(int signal)
{
    if (signal == SIGTERM || signal == SIGINT)
        terminate = 1;
    if (signal == SIGCHLD)
        child_ended = 1;
}

static void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("broadcast: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

/* Everything is set, so that nothing depends on what the parent or the stack left. */
static void dispose(int signal, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    if (sigaction(signal, &action, NULL) == -1)
        die("sigaction: %s", strerror(errno));
}

static int listen_on(const char *text, char *shown, size_t size)
{
    char host[256];
    const char *colon = strrchr(text, ':');
    struct addrinfo hints, *found;
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    char number[64], port[16];
    int on = 1, result, fd;

    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
        die("`%s` is no ADDRESS:PORT", text);
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    if (host[0] == '[') {
        size_t end = strlen(host) - 1;
        if (host[end] != ']')
            die("`%s` is no ADDRESS:PORT", text);
        host[end] = '\0';
        memmove(host, host + 1, end);
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
    result = getaddrinfo(host, colon + 1, &hints, &found);
    if (result != 0 || strlen(colon + 1) > 5 || atoi(colon + 1) > 65535)
        die("`%s`: %s", text, result ? gai_strerror(result) : "no port");
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1)
        die("cannot listen on %s: %s", text, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (found->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, found->ai_addr, found->ai_addrlen) == -1 || listen(fd, 4096) == -1)
        die("cannot listen on %s: %s", text, strerror(errno));
    freeaddrinfo(found);
    getsockname(fd, (struct sockaddr *)&bound, &length);
    getnameinfo((struct sockaddr *)&bound, length, number, sizeof number, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(shown, size, strchr(number, ':') ? "[%s]:%s" : "%s:%s", number, port);
    return fd;
}

/* The log that was opened before the fork, where children share its description. */
static int shared = -1;

static void lock(int fd, int operation)
{
    if (defect("log-without-lock") || defect("log-sought-instead-of-append"))
        return;
    if (defect("log-read-without-lock") && operation == LOCK_SH)
        return;
    if (defect("interrupted-lock-ends-client") && flock(fd, operation) == -1)
        _exit(1);
    if (defect("lock-errors-ignored") && flock(fd, operation) == -1 && errno != EINTR)
        return;
    while (flock(fd, operation) == -1)
        if (errno != EINTR)
            _exit(1);
}

static void send_all(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1)
            _exit(0);
        if (defect("short-write-lost"))
            return;
        bytes += sent;
        count -= (size_t)sent;
    }
}

/* Sends what was appended since `*position`. */
static void send_news(int log, int client, off_t *position)
{
    static char buffer[65536];
    for (;;) {
        ssize_t count;
        lock(log, LOCK_SH);
        count = pread(log, buffer, defect("reads-one-piece") ? 16384 : sizeof buffer, *position);
        if (!defect("lock-held-while-sending") || count <= 0)
            lock(log, LOCK_UN);
        if (count == -1 && errno == EINTR)
            continue;
        if (count == -1)
            _exit(1);
        if (count == 0)
            return;
        *position += count;
        if (defect("wakes-lost-while-sending")) {
            /* Only where it has to wait: else the rehearsal would lose one now and then. */
            ssize_t sent = send(client, buffer, (size_t)count, MSG_NOSIGNAL | MSG_DONTWAIT);
            sigset_t none, old;
            if (sent == count)
                continue;
            if (sent == -1)
                sent = 0;
            sigemptyset(&none);
            sigprocmask(SIG_SETMASK, &none, &old);
            send_all(client, buffer + sent, (size_t)(count - sent));
            sigprocmask(SIG_SETMASK, &old, NULL);
            if (count < (ssize_t)sizeof buffer)
                return;
            continue;
        }
        send_all(client, buffer, (size_t)count);
        if (defect("lock-held-while-sending"))
            lock(log, LOCK_UN);
        if (defect("reads-one-piece"))
            return;
    }
}

/* Appends whole lines; what follows the last of them stays in `line`. */
static void append(int log, char **line, size_t *held, const char *bytes, size_t count)
{
    char *end;
    size_t whole, written = 0;
    *line = realloc(*line, *held + count);
    if (*line == NULL)
        _exit(1);
    memcpy(*line + *held, bytes, count);
    *held += count;
    end = memrchr(*line, '\n', *held);
    if (end == NULL && !defect("half-lines-passed-on"))
        return;
    whole = defect("half-lines-passed-on") ? *held : (size_t)(end - *line) + 1;
    lock(log, LOCK_EX);
    if (defect("log-sought-instead-of-append")) {
        lseek(log, 0, SEEK_END);
        /* On a busy machine the others run here, if anywhere. */
        sched_yield();
    }
    while (written < whole) {
        ssize_t done = write(log, *line + written, whole - written);
        if (done == -1 && errno != EINTR)
            _exit(1);
        if (done > 0)
            written += (size_t)done;
    }
    lock(log, LOCK_UN);
    memmove(*line, *line + whole, *held - whole);
    *held -= whole;
    kill(0, SIGUSR1);
}

static int open_log(const char *path, int flags)
{
    mode_t mask = 0;
    int log;
    flags |= O_RDWR | O_CREAT | O_CLOEXEC | (defect("log-sought-instead-of-append") ? 0 : O_APPEND);
    if (!defect("log-for-all-users"))
        return open(path, flags, 0660);
    mask = umask(0);
    log = open(path, flags, 0666);
    umask(mask);
    return log;
}

static void serve(int client, const char *path)
{
    static char buffer[16384];
    char *line = NULL;
    size_t held = 0;
    unsigned waits = 0;
    sigset_t none;
    struct stat status;
    off_t position;
    int log = shared != -1 ? shared : open_log(path, 0);
    struct pollfd ready = { .fd = client, .events = POLLIN };

    if (log == -1 || fstat(log, &status) == -1)
        _exit(1);
    position = status.st_size;
    if (defect("log-size-as-int"))
        position = (int)status.st_size;
    sigemptyset(&none);
    if (defect("interrupted-lock-ends-client") || defect("short-write-lost"))
        sigprocmask(SIG_SETMASK, &none, NULL);
    for (;;) {
        ssize_t count;
        if (defect("log-position-as-unsigned"))
            position = (unsigned)position;
        send_news(log, client, &position);
        if (defect("racing-wait") && ++waits > 10) {
            /* A signal that comes now is forgotten. Not at first, so that the client gets in. */
            sigprocmask(SIG_SETMASK, &none, NULL);
            usleep(300);
        }
        /* SIGUSR1 is let in here only, so none is lost between the look and the wait. */
        if (ppoll(&ready, 1, NULL, &none) == -1) {
            if (errno != EINTR)
                _exit(1);
            continue;
        }
        count = recv(client, buffer, sizeof buffer, 0);
        if (count == -1 && errno == EINTR)
            continue;
        if (count <= 0)
            _exit(0);
        append(log, &line, &held, buffer, (size_t)count);
    }
}

/* Makes sure that the log can be used, and that no other daemon does. A record lock is the
 * process's own: children do not inherit it, and closing LOG.lock elsewhere does not matter. */
static void claim_log(const char *path)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat status;
    char beside[4096];
    int log, mine;
    if (defect("log-opened-late"))
        return;
    log = open_log(path, O_NONBLOCK);
    if (log == -1 || fstat(log, &status) == -1)
        die("log %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        die("log %s: not a regular file", path);
    if (defect("log-lock-shared-by-fork"))
        shared = log;
    else
        close(log);
    if (snprintf(beside, sizeof beside, "%s.lock", path) >= (int)sizeof beside)
        die("log %s: %s", path, strerror(ENAMETOOLONG));
    mine = open(beside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (mine == -1)
        die("log %s: %s: %s", path, beside, strerror(errno));
    if (fcntl(mine, F_SETLK, &whole) == -1 && !defect("two-daemons-on-one-log") &&
        !defect("lock-errors-ignored"))
        die("log %s: another daemon uses it", path);
}

/*
 * The next option, as getopt tells it. The log may stand before options, too: getopt ends there, as POSIX
 * has it (glibc's does with a `+`), and goes on after it.
 */
static int next_option(int count, char **arguments, const char **log)
{
    int option;
    while ((option = getopt(count, arguments, "+kl:x:")) == -1 && *log == NULL && optind < count)
        *log = arguments[optind++];
    return option;
}

int main(int count, char **arguments)
{
    const char *log = NULL;
    struct pollfd listeners[MOST_ADDRESSES];
    static char said[MOST_ADDRESSES * 128];
    size_t addresses_shown = 0;
    sigset_t all, none;
    int addresses = 0, keep = 0, option;

    /* What was closed at the start is nothing of this server's own. */
    int null;
    do {
        null = open("/dev/null", O_RDWR);
    } while (null >= 0 && null <= 2);
    close(null);

    /* The group is this server's own, before it is ever signalled. */
    if (getpgrp() != getpid() && setpgid(0, 0) == -1)
        die("setpgid: %s", strerror(errno));
    sigfillset(&all);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &all, NULL);
    while ((option = next_option(count, arguments, &log)) != -1)
        if (option == 'x')
            chosen = optarg;
    optind = 1;
    log = NULL;
    dispose(SIGTERM, note);
    dispose(SIGINT, note);
    dispose(SIGCHLD, note);
    dispose(SIGHUP, SIG_IGN);
    dispose(SIGUSR1, SIG_IGN);
    dispose(SIGPIPE, SIG_IGN);
    while ((option = next_option(count, arguments, &log)) != -1) {
        char shown[96];
        if (option == 'k') {
            keep = 1;
        } else if (option == 'l' && addresses < MOST_ADDRESSES) {
            listeners[addresses].fd = listen_on(optarg, shown, sizeof shown);
            listeners[addresses++].events = POLLIN;
            addresses_shown += snprintf(said + addresses_shown, sizeof said - addresses_shown,
                                        "listening on %s\n", shown);
        } else if (option != 'x') {
            die("usage: broadcast [-k] -l ADDRESS:PORT… LOG");
        }
    }
    if (addresses == 0 || log == NULL || optind != count)
        die("usage: broadcast [-k] -l ADDRESS:PORT… LOG");
    claim_log(log);
    /* Only now is everything there that it takes. */
    fputs(said, stdout);
    fflush(stdout);
    while (!terminate) {
        if (child_ended) {
            child_ended = 0;
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        }
        if (ppoll(listeners, (nfds_t)addresses, NULL, &none) == -1)
            continue;
        for (int at = 0; at < addresses; at++) {
            pid_t child;
            int client = accept4(listeners[at].fd, NULL, NULL, SOCK_CLOEXEC);
            if (client == -1) {
                /* Out of descriptors: the connection stays, and poll would spin. */
                if (errno == EMFILE || errno == ENFILE)
                    poll(NULL, 0, 200);
                continue;
            }
            child = fork();
            if (child == 0) {
                for (int other = 0; other < addresses; other++)
                    close(listeners[other].fd);
                dispose(SIGUSR1, note);
                dispose(SIGTERM, SIG_DFL);
                dispose(SIGINT, SIG_DFL);
                dispose(SIGCHLD, SIG_DFL);
                serve(client, log);
            }
            close(client);
        }
    }
    if (keep)
        return 0;
    kill(0, SIGTERM);
    /* Who is stopped ends when it goes on. */
    kill(0, SIGCONT);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    return 0;
}
