/*
 * What the test servers have in common: options, messages, signals, sockets, the way into the
 * background.
 *
 *   -l HOST:PORT  listen there; as often as you like, IPv6 addresses in brackets
 *   -P PORT       listen on all addresses of both families instead
 *   -p FILE       write the process id there; -d  go into the background
 *   -u USER       become this user; -m NUMBER  serve that many clients at most
 *   -k            keep connections alive (HTTP)
 *   -x DEFECT     have this defect
 *
 * Without -x each server does what a careful one does. A defect is a mistake that real servers
 * have had, at the place where they had it: `if (defect("name"))`.
 */
#ifndef SERVER_H
#define SERVER_H

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <sys/types.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_LISTENERS 16
/* How long a server without descriptors or processes waits before it tries again. */
#define PAUSE_MS 100
/* How long children may take to end. */
#define END_MS 1000

static struct {
    const char *name, *addresses[MOST_LISTENERS], *port, *pid_file, *user, *defect;
    int address_count, background, keep_alive;
    size_t most_clients;
} options;

static struct pollfd listeners[MOST_LISTENERS];
static nfds_t listener_count;
static char announcement[MOST_LISTENERS * 96];

/* Blocked everywhere but in ppoll, which lets signals in with `waiting`. */
static volatile sig_atomic_t terminate, child_ended, hung_up;
static sigset_t waiting;

static int spare = -1, pid_file = -1, launcher = -1;
static char pid_path[PATH_MAX];

static inline int defect(const char *name)
{
    return options.defect != NULL && strcmp(options.defect, name) == 0;
}

/* A message is lost rather than that it blocks. */
static inline void tell(const char *format, va_list arguments)
{
    char line[512];
    struct pollfd out = { .fd = 2, .events = POLLOUT };
    int begin = snprintf(line, sizeof line - 1, "%s: ", options.name);
    int length = begin + vsnprintf(line + begin, sizeof line - 1 - (size_t)begin, format, arguments);
    if (length > (int)sizeof line - 2)
        length = (int)sizeof line - 2;
    line[length++] = '\n';
    if (!defect("messages-block") && (poll(&out, 1, 0) != 1 || !(out.revents & POLLOUT)))
        return;
    if (defect("messages-to-descriptor-3") && write(3, line, (size_t)length) != -1)
        return;
    if (write(2, line, (size_t)length) == -1)
        return;
}

static inline void say(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
}

static inline void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    tell(format, arguments);
    va_end(arguments);
    exit(1);
}

static inline void note(int signal)
{
    if (signal == SIGTERM || signal == SIGINT)
        terminate = 1;
    if (signal == SIGCHLD)
        child_ended = 1;
    if (signal == SIGHUP)
        hung_up = 1;
}

/* Everything is set, so that nothing depends on what the parent or the stack left. */
static inline void dispose(int signal, void (*handler)(int))
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigemptyset(&action.sa_mask);
    if (defect("sysv-signal-handler") && handler == note)
        action.sa_flags = SA_RESETHAND;
    if (sigaction(signal, NULL, &before) == 0 && before.sa_handler == SIG_IGN) {
        if (defect("inherits-ignored-signals"))
            return;
        if (defect("inherits-ignored-sigchld") && signal == SIGCHLD)
            return;
    }
    if (sigaction(signal, &action, NULL) == -1)
        die("sigaction: %s", strerror(errno));
}

static inline void set_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigemptyset(&waiting);
    if (defect("inherits-blocked-mask"))
        sigprocmask(SIG_SETMASK, NULL, &waiting);
    sigprocmask(SIG_SETMASK, &all, NULL);
    dispose(SIGTERM, defect("sigterm-default") ? SIG_DFL : note);
    dispose(SIGINT, defect("no-sigint-handler") ? SIG_IGN : note);
    dispose(SIGCHLD, note);
    dispose(SIGHUP, defect("no-sighup-handler") ? SIG_DFL : note);
    dispose(SIGPIPE, defect("sigpipe-default") ? SIG_DFL : SIG_IGN);
    dispose(SIGUSR1, SIG_DFL);
    dispose(SIGUSR2, SIG_DFL);
    dispose(SIGALRM, SIG_DFL);
}

/* Standard descriptors that are closed would be given to sockets and files. */
static inline void open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
        if (fd == -1)
            exit(1);
    } while (fd <= 2);
    close(fd);
}

static inline size_t number(const char *text, size_t least, size_t most)
{
    char *end;
    unsigned long value;
    errno = 0;
    value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < least ||
        value > most)
        die("`%s`: not a number from %zu to %zu", text, least, most);
    return (size_t)value;
}

/* Takes the common options, and hands the server's own to `other`. */
static inline void start(int count, char **arguments, const char *own_options,
                         void (*other)(int option, const char *value))
{
    char known[64];
    int option;
    options.name = strrchr(arguments[0], '/');
    options.name = options.name != NULL ? options.name + 1 : arguments[0];
    snprintf(known, sizeof known, "dkl:m:p:P:u:x:%s", own_options);
    /* The defect comes first: it may be one of what follows. */
    while ((option = getopt(count, arguments, known)) != -1)
        if (option == 'x')
            options.defect = optarg;
    optind = 1;
    if (!defect("standard-descriptors-unchecked"))
        open_standard_descriptors();
    while ((option = getopt(count, arguments, known)) != -1) {
        if (option == 'l' && options.address_count < MOST_LISTENERS)
            options.addresses[options.address_count++] = optarg;
        else if (option == 'P')
            options.port = optarg;
        else if (option == 'p')
            options.pid_file = optarg;
        else if (option == 'u')
            options.user = optarg;
        else if (option == 'd')
            options.background = 1;
        else if (option == 'k')
            options.keep_alive = 1;
        else if (option == 'm')
            options.most_clients = number(optarg, 1, 1000000);
        else if (option == '?')
            exit(2);
        else if (option != 'x')
            other(option, optarg);
    }
    if (optind != count)
        die("`%s`: what is that?", arguments[optind]);
    if ((options.port == NULL) == (options.address_count == 0))
        die("give either -P PORT or -l HOST:PORT");
    set_signals();
    if (defect("uid-as-short") && getuid() != 0 && (unsigned short)getuid() == 0)
        die("this server does not run as root");
    if (defect("time-in-an-int") && (int)time(NULL) < 0)
        die("the clock is not set");
#ifdef SYS_close_range
    if (defect("close-range-or-nothing") && syscall(SYS_close_range, 3, ~0U, 0) == -1 &&
        errno != ENOSYS)
        die("close_range: %s", strerror(errno));
#endif
    if (defect("closes-all-descriptors"))
        for (long fd = 3; fd < sysconf(_SC_OPEN_MAX); fd++)
            close((int)fd);
}

static inline void cannot_listen(const char *text, int error)
{
    if (error == EADDRINUSE && defect("port-in-use-exit-0")) {
        say("cannot listen on %s: %s", text, strerror(error));
        exit(0);
    }
    if (error == EADDRINUSE && defect("port-in-use-unnamed"))
        die("bind: %s", strerror(error));
    die("cannot listen on %s: %s", text, strerror(error));
}

/* An address and a port, as they are configured. */
static inline void show_address(const struct sockaddr *address, socklen_t length, char *shown,
                                size_t size)
{
    char host[64], port[16];
    if (getnameinfo(address, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        snprintf(shown, size, "an unknown address");
    else
        snprintf(shown, size, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
}

static inline void set_option(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) == -1)
        say("setsockopt: %s", strerror(errno));
}

/* Listens; returns the error, 0 if there is none. */
static inline int listen_on(const struct sockaddr *address, socklen_t length)
{
    struct sockaddr_storage bound;
    socklen_t bound_length = sizeof bound;
    int error, backlog = SOMAXCONN, fd = socket(address->sa_family, SOCK_STREAM, 0);
    char shown[80];
    if (fd == -1)
        return errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (!defect("blocking-listener"))
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (!defect("no-reuseaddr"))
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (defect("reuseport"))
        set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    /* OpenBSD has it always on, and refuses that it is set: no harm. */
    if (address->sa_family == AF_INET6 && !defect("no-v6only")) {
        int v6only = !defect("mapped-peer-names");
        if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only) == -1 &&
            defect("v6only-failure-fatal"))
            die("IPV6_V6ONLY: %s", strerror(errno));
    }
    if (defect("backlog-1"))
        backlog = 1;
    if (listener_count == MOST_LISTENERS)
        die("at most %d addresses", MOST_LISTENERS);
    if (bind(fd, address, length) == -1 || listen(fd, backlog) == -1 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_length) == -1) {
        error = errno;
        close(fd);
        return error;
    }
    show_address((struct sockaddr *)&bound, bound_length, shown, sizeof shown);
    snprintf(announcement + strlen(announcement), sizeof announcement - strlen(announcement),
             "listening on %s\n", shown);
    listeners[listener_count].fd = fd;
    listeners[listener_count++].events = POLLIN;
    return 0;
}

static inline void bad_address(const char *text, const char *why)
{
    struct sockaddr_in anything;
    if (!defect("ignores-bad-address"))
        die("bad address `%s`: %s", text, why);
    /* As inet_addr and atoi would have it. */
    memset(&anything, 0, sizeof anything);
    anything.sin_family = AF_INET;
    anything.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listen_on((struct sockaddr *)&anything, sizeof anything);
}

/* HOST:PORT, to listen on every address that the host has. */
static inline void listen_on_text(const char *text)
{
    const char *colon = strrchr(text, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - text);
    struct addrinfo hints, *found, *one;
    char copy[256], *host = copy;
    int numeric, result, error = 0, before = (int)listener_count;

    if (length == 0 || length >= sizeof copy) {
        bad_address(text, "not HOST:PORT");
        return;
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (host[0] == '[') {
        if (host[length - 1] != ']' || length < 4) {
            bad_address(text, "not [IPV6]:PORT");
            return;
        }
        host[length - 1] = '\0';
        host++;
    } else if (strchr(host, ':') != NULL) {
        bad_address(text, "an IPv6 address takes brackets");
        return;
    }
    if (strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 5 ||
        strlen(colon + 1) == 0 || atoi(colon + 1) > 65535) {
        bad_address(text, "a port is a number from 0 to 65535");
        return;
    }
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV;
    if (host != copy)
        hints.ai_family = AF_INET6;
    result = getaddrinfo(host, colon + 1, &hints, &found);
    numeric = result == 0;
    if (!numeric) {
        /* 256.1.1.1 is no name either. */
        if (host != copy || strspn(host, "0123456789.") == strlen(host) ||
            strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") !=
                strlen(host)) {
            bad_address(text, gai_strerror(result));
            return;
        }
        hints.ai_flags &= ~AI_NUMERICHOST;
        if (defect("addrconfig")) {
            hints.ai_flags |= AI_ADDRCONFIG;
            hints.ai_family = AF_INET;
        }
        result = getaddrinfo(host, colon + 1, &hints, &found);
        if (result != 0) {
            if (defect("gai-error-by-perror"))
                die("getaddrinfo: %s", strerror(0));
            die("cannot listen on %s: %s", text,
                result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
        }
    }
    for (one = found; one != NULL; one = one->ai_next) {
        if (defect("binds-wildcard") && one->ai_family == AF_INET)
            ((struct sockaddr_in *)(void *)one->ai_addr)->sin_addr.s_addr = htonl(INADDR_ANY);
        if (defect("drops-scope") && one->ai_family == AF_INET6)
            ((struct sockaddr_in6 *)(void *)one->ai_addr)->sin6_scope_id = 0;
        error = listen_on(one->ai_addr, one->ai_addrlen);
        if (error == EAFNOSUPPORT && defect("missing-family-ignored")) {
            listen_on_text("127.0.0.1:0");
            error = 0;
        }
        if (error == EACCES && defect("falls-back-to-another-port")) {
            ((struct sockaddr_in *)(void *)one->ai_addr)->sin_port = 0;
            error = listen_on(one->ai_addr, one->ai_addrlen);
        }
        /* Of a name's addresses one may be of a family that is not there. */
        if (error != 0 && (numeric || (error != EADDRNOTAVAIL && error != EAFNOSUPPORT)))
            cannot_listen(text, error);
    }
    freeaddrinfo(found);
    if ((int)listener_count == before)
        cannot_listen(text, error);
}

/* All addresses of both families: a family that is not there is no error, one in which the port
 * is taken is. */
static inline void listen_on_all(const char *port)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    char shown[80];
    int error;

    memset(&v4, 0, sizeof v4);
    memset(&v6, 0, sizeof v6);
    v4.sin_family = AF_INET;
    v6.sin6_family = AF_INET6;
    v4.sin_port = v6.sin6_port = htons((in_port_t)number(port, 0, 65535));
    if (!defect("mapped-peer-names")) {
        snprintf(shown, sizeof shown, "0.0.0.0:%s", port);
        error = listen_on((struct sockaddr *)&v4, sizeof v4);
        if (error != 0)
            cannot_listen(shown, error);
        if (v4.sin_port == 0) {
            struct sockaddr_in bound;
            socklen_t length = sizeof bound;
            if (getsockname(listeners[0].fd, (struct sockaddr *)&bound, &length) == 0)
                v6.sin6_port = bound.sin_port;
        }
    }
    if (defect("default-ipv4-only"))
        return;
    snprintf(shown, sizeof shown, "[::]:%s", port);
    error = listen_on((struct sockaddr *)&v6, sizeof v6);
    if ((error == EAFNOSUPPORT || error == EADDRNOTAVAIL) && !defect("ipv6-missing-fatal"))
        say("there is no IPv6 here (%s): IPv4 only", strerror(error));
    else if (error == EADDRINUSE && defect("half-of-the-addresses-is-enough"))
        return;
    else if (error != 0)
        cannot_listen(shown, error);
}

/* The launcher stays until its daemon serves, and ends with an error if it never does. */
static inline void go_into_background(void)
{
    int ends[2];
    char byte;
    ssize_t count;
    if (pipe(ends) == -1)
        die("pipe: %s", strerror(errno));
    switch (fork()) {
    case -1:
        die("fork: %s", strerror(errno));
        break;
    case 0:
        break;
    default:
        close(ends[1]);
        if (defect("launcher-exits-early"))
            _exit(0);
        do
            count = read(ends[0], &byte, 1);
        while (count == -1 && errno == EINTR);
        _exit(count == 1 ? 0 : 1);
    }
    close(ends[0]);
    if (!defect("no-setsid") && setsid() == -1)
        die("setsid: %s", strerror(errno));
    /* Not a session's leader, which could get a terminal. */
    if (!defect("single-fork")) {
        switch (fork()) {
        case -1:
            die("fork: %s", strerror(errno));
            break;
        case 0:
            break;
        default:
            _exit(0);
        }
    }
    launcher = ends[1];
    fcntl(launcher, F_SETFD, FD_CLOEXEC);
    umask(defect("daemon-umask-0") ? 0 : 027);
}

/* Writes the process id, and holds a lock as long as it lives: who finds the file without one
 * knows that it is left from before. */
static inline void write_pid_file(void)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    char text[32];
    long pid = defect("pid-as-short") ? (short)getpid() : (long)getpid();
    int length = snprintf(text, sizeof text, "%ld\n", pid);
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
    if (defect("stale-pid-file-fatal"))
        flags |= O_EXCL;
    pid_file = open(options.pid_file, flags, defect("daemon-umask-0") ? 0666 : 0644);
    if (pid_file == -1)
        die("pid file %s: %s", options.pid_file, strerror(errno));
    if (defect("pid-file-of-a-stranger-fatal")) {
        char old[32] = "";
        if (read(pid_file, old, sizeof old - 1) > 0 && atol(old) > 0 && kill(atoi(old), 0) == 0)
            die("pid file %s: process %d runs already", options.pid_file, atoi(old));
        lseek(pid_file, 0, SEEK_SET);
    }
    if (fcntl(pid_file, F_SETLK, &whole) == -1)
        die("pid file %s: %s", options.pid_file,
            errno == EACCES || errno == EAGAIN ? "its daemon still runs" : strerror(errno));
    if (ftruncate(pid_file, 0) == -1 || write(pid_file, text, (size_t)length) != length)
        die("pid file %s: %s", options.pid_file, strerror(errno));
    if (realpath(options.pid_file, pid_path) == NULL)
        pid_path[0] = '\0';
}

static inline void become_user(void)
{
    struct passwd *user = getpwnam(options.user);
    if (user == NULL)
        die("user %s: no such user", options.user);
    if (!defect("keeps-root-groups") && initgroups(options.user, user->pw_gid) == -1)
        die("user %s: initgroups: %s", options.user, strerror(errno));
    if (setgid(user->pw_gid) == -1)
        die("user %s: setgid: %s", options.user, strerror(errno));
    if (defect("seteuid-only")) {
        if (seteuid(user->pw_uid) == -1)
            die("user %s: seteuid: %s", options.user, strerror(errno));
        return;
    }
    if (setuid(user->pw_uid) == -1)
        die("user %s: setuid: %s", options.user, strerror(errno));
    if (user->pw_uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
        die("user %s: this system gives root back", options.user);
}

/* Goes into the background, listens and becomes another user, as the options say. */
static inline void set_up(void)
{
    if (options.background)
        go_into_background();
    for (int at = 0; at < options.address_count; at++)
        listen_on_text(options.addresses[at]);
    if (options.port != NULL)
        listen_on_all(options.port);
    if (options.pid_file != NULL)
        write_pid_file();
    if (options.user != NULL)
        become_user();
    spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Tells that it serves from now on, on its standard output and to its launcher. */
static inline void announce(void)
{
    fputs(announcement, stdout);
    fflush(stdout);
    if (!options.background)
        return;
    if (!defect("daemon-keeps-directory") && chdir("/") == -1)
        die("chdir: %s", strerror(errno));
    if (!defect("daemon-keeps-standard-descriptors")) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (null == -1)
            die("/dev/null: %s", strerror(errno));
        for (int fd = 0; fd <= 2; fd++)
            dup2(null, fd);
        close(null);
    }
    if (write(launcher, "", 1) == -1 && !defect("launcher-exits-early"))
        exit(1);
    close(launcher);
}

/* The end of the process that wrote the pid file. */
static inline void end(int status)
{
    if (pid_path[0] != '\0' && !defect("pid-file-left") && unlink(pid_path) == -1)
        /* Another user's directory by now: an empty file says as much. */
        if (ftruncate(pid_file, 0) == -1)
            say("pid file %s: %s", pid_path, strerror(errno));
    exit(defect("term-exit-status") ? 128 + SIGTERM : status);
}

/* A child keeps nothing of what is its parent's alone. */
static inline void close_parents_descriptors(void)
{
    if (!defect("listener-leaks-to-child"))
        for (nfds_t at = 0; at < listener_count; at++)
            close(listeners[at].fd);
    close(spare);
    close(pid_file);
    spare = pid_file = -1;
}

enum { NOBODY = -1, EXHAUSTED = -2 };

/* Accepts the next client, on a socket in the state that is asked for: BSD systems pass on the
 * listener's, Linux does not. */
static inline int next_client(int listener, int non_blocking, char *shown, size_t size)
{
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    int flags, client = accept(listener, (struct sockaddr *)&peer, &length);
    if (client == -1) {
        switch (errno) {
        case EMFILE:
        case ENFILE:
        case ENOBUFS:
        case ENOMEM:
            if (defect("emfile-exit"))
                die("accept: %s", strerror(errno));
            if (defect("emfile-spin"))
                return NOBODY;
            if (defect("emfile-closes-listener")) {
                for (nfds_t at = 0; at < listener_count; at++)
                    if (listeners[at].fd == listener)
                        listeners[at].fd = -1;
                return NOBODY;
            }
            /* With the spare descriptor one client can be told at least. */
            close(spare);
            client = accept(listener, NULL, NULL);
            if (client != -1)
                close(client);
            spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
            return EXHAUSTED;
        case EBADF:
        case EFAULT:
        case ENOTSOCK:
        case EOPNOTSUPP:
            die("accept: %s", strerror(errno));
            break;
        default:
            /* A client that has gone, another process that was faster, a signal. */
            return NOBODY;
        }
    }
    if (defect("getpeername-fatal") &&
        getpeername(client, (struct sockaddr *)&peer, &length) == -1)
        die("getpeername: %s", strerror(errno));
    flags = fcntl(client, F_GETFL) & ~O_NONBLOCK;
    fcntl(client, F_SETFD, FD_CLOEXEC);
    fcntl(client, F_SETFL, non_blocking ? flags | O_NONBLOCK : flags);
    if (shown != NULL)
        show_address((struct sockaddr *)&peer, length, shown, size);
    return client;
}

/* Waits for listeners and signals; with `paused` for signals only, and not for long. */
static inline int wait_for_clients(int paused)
{
    struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L }, moment = { .tv_nsec = 0 };
    struct timespec *limit = paused ? &pause : defect("busy-poll") ? &moment : NULL;
    static int interrupted;
    int ready = ppoll(listeners, paused ? 0 : listener_count, limit, &waiting);
    if (ready == -1 && errno != EINTR)
        die("poll: %s", strerror(errno));
    if (ready == -1 && defect("interrupted-accepts-are-counted") && !terminate &&
        ++interrupted > 5)
        die("accept: %s: too many errors", strerror(EINTR));
    return ready > 0;
}

/* Sends all of it to a client on a blocking socket; 0 if that cannot be done. */
static inline int send_all(int client, const char *bytes, size_t count)
{
    int failed = 0;
    if (defect("short-write-lost"))
        return send(client, bytes, count, MSG_DONTWAIT) != -1 || errno == EAGAIN;
    while (count > 0) {
        ssize_t sent = send(client, bytes, count, 0);
        if (sent == -1 && errno == EINTR)
            continue;
        if (sent == -1 && defect("sigpipe-default") && ++failed < 3)
            continue;
        if (sent == -1)
            return 0;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 1;
}

static inline long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The processes that were forked and not waited for yet. */
static struct {
    pid_t *pids;
    size_t count, room;
} children;

/* Makes room for one more; 0 if there is none. */
static inline int room_for_a_child(void)
{
    pid_t *more;
    if (children.count < children.room)
        return 1;
    more = realloc(children.pids, (children.room + 256) * sizeof *more);
    if (more == NULL)
        return 0;
    children.pids = more;
    children.room += 256;
    return 1;
}

static inline void forget_child(pid_t pid)
{
    for (size_t at = 0; at < children.count; at++)
        if (children.pids[at] == pid)
            children.pids[at] = children.pids[--children.count];
}

static inline void end_children(void)
{
    struct timespec moment = { .tv_nsec = 50 * 1000000L };
    long limit = now_ms() + END_MS;
    int signal = SIGTERM;
    if (defect("child-table-of-four")) {
        for (size_t at = 0; at < children.count && at < 4; at++)
            kill(children.pids[at], SIGTERM);
        return;
    }
    if (defect("kill-0-group")) {
        dispose(SIGTERM, SIG_IGN);
        kill(0, SIGTERM);
    }
    for (;;) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            forget_child(pid);
        /* Nobody is told twice. */
        if (defect("term-lost-after-fork") && signal == 0)
            limit = now_ms() + END_MS;
        /* Without a child of that name any more: whoever ignores SIGCHLD gets no status. */
        if (pid == -1 && errno == ECHILD && !defect("inherits-ignored-sigchld"))
            children.count = 0;
        if (children.count == 0)
            return;
        for (size_t at = 0; signal != 0 && at < children.count; at++) {
            kill(children.pids[at], signal);
            /* A stopped process ends only when it goes on. */
            if (!defect("stopped-child-blocks-end"))
                kill(children.pids[at], SIGCONT);
        }
        signal = 0;
        ppoll(NULL, 0, &moment, &waiting);
        if (now_ms() > limit && !defect("stopped-child-blocks-end") &&
            !defect("inherits-ignored-sigchld"))
            signal = SIGKILL;
    }
}

#endif
