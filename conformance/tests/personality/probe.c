/* One small program for each personality: `probe CASE DIRECTORY` prints what
 * this platform does. Nothing here is bent to the library: it is the code a
 * server would contain. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

static char *self, path[4096], other[4096];

#define NEED(what) do { if ((what) < 0) { printf("probe: line %d: %s", __LINE__, strerror(errno)); exit(70); } } while (0)

static void say(const char *what) { printf("%s", what); }

/* The outcome of a call: "ok" or the error's name. */
static void outcome(long result) {
    static const struct { int number; const char *name; } names[] = {
        {EAFNOSUPPORT, "EAFNOSUPPORT"}, {EADDRINUSE, "EADDRINUSE"}, {EADDRNOTAVAIL, "EADDRNOTAVAIL"},
        {EAGAIN, "EAGAIN"}, {ECONNABORTED, "ECONNABORTED"}, {EINTR, "EINTR"}, {EINVAL, "EINVAL"}, {EIO, "EIO"},
        {EMFILE, "EMFILE"}, {ENOSPC, "ENOSPC"}, {EOVERFLOW, "EOVERFLOW"}, {EPIPE, "EPIPE"}, {EFBIG, "EFBIG"},
        {ENOMEM, "ENOMEM"}, {EPERM, "EPERM"}, {ENOLCK, "ENOLCK"}, {EPROTOTYPE, "EPROTOTYPE"},
    };
    if (result >= 0) { say("ok"); return; }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == errno) { say(names[i].name); return; }
    printf("error %d", errno);
}

static void status(int child) {
    int how;
    NEED(waitpid(child, &how, 0));
    if (WIFSIGNALED(how)) printf("signal %s", WTERMSIG(how) == SIGPIPE ? "SIGPIPE" : WTERMSIG(how) == SIGUSR1 ? "SIGUSR1" : "?");
    else printf("exit %d", WEXITSTATUS(how));
}

static volatile sig_atomic_t handled;
static int wake[2];
static void handler(int signal) { (void)signal; handled++; }
static void waker(int signal) { (void)signal; if (write(wake[1], "x", 1) < 0) handled = -1; }

static void catch(int signal, void (*function)(int)) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = function;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    NEED(sigaction(signal, &action, NULL));
}

static struct sockaddr_in loopback(const char *address, int port) {
    struct sockaddr_in in;
    memset(&in, 0, sizeof in);
#ifdef __FreeBSD__
    in.sin_len = sizeof in;
#endif
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    inet_pton(AF_INET, address, &in.sin_addr);
    return in;
}

static int listener, port;
static void serve(int backlog) {
    struct sockaddr_in in = loopback("127.0.0.1", 0);
    socklen_t len = sizeof in;
    NEED(listener = socket(AF_INET, SOCK_STREAM, 0));
    NEED(bind(listener, (void *)&in, sizeof in));
    NEED(listen(listener, backlog));
    NEED(getsockname(listener, (void *)&in, &len));
    port = ntohs(in.sin_port);
}

static int call(int flags) {
    struct sockaddr_in in = loopback("127.0.0.1", port);
    int client;
    NEED(client = socket(AF_INET, SOCK_STREAM, 0));
    if (flags) NEED(fcntl(client, F_SETFL, flags));
    if (connect(client, (void *)&in, sizeof in) < 0 && errno != EINPROGRESS) NEED(-1);
    return client;
}

static int client, accepted;
static void connection(void) {
    serve(5);
    client = call(0);
    NEED(accepted = accept(listener, NULL, NULL));
}

static int file(const char *name, int flags) {
    int fd;
    NEED(fd = open(name, flags, 0644));
    return fd;
}

static void fill(int fd, int bytes) {
    char data[16384];
    memset(data, 'x', sizeof data);
    NEED(write(fd, data, bytes));
}

static int size(int fd) {
    struct stat facts;
    NEED(fstat(fd, &facts));
    return (int)facts.st_size;
}

/* Another process's attempt at the lock, past the library. */
static void try_lock(int operation) {
    int fd = file(path, O_RDWR | O_CREAT);
    outcome(flock(fd, operation | LOCK_NB));
}

static void child_try_lock(int fresh) {
    fflush(stdout);
    pid_t child = fork();
    NEED(child);
    if (child == 0) { if (fresh) try_lock(LOCK_EX); fflush(stdout); _exit(0); }
    NEED(waitpid(child, NULL, 0));
}

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000;
}

static void mask_of(int how, int signal) {
    sigset_t set;
    sigemptyset(&set);
    if (signal) sigaddset(&set, signal);
    NEED(sigprocmask(how, &set, NULL));
}

/* KiB in memory now. Linux: ru_maxrss keeps what the program before exec had. */
static long resident(void) {
#ifdef __linux__
    long total, now = 0;
    FILE *statm = fopen("/proc/self/statm", "r");
    if (statm != NULL && fscanf(statm, "%ld %ld", &total, &now) != 2) NEED(-1);
    return now * (sysconf(_SC_PAGESIZE) / 1024);
#else
    struct rusage used;
    NEED(getrusage(RUSAGE_SELF, &used));
    return used.ru_maxrss;
#endif
}

static int blocked(int signal) {
    sigset_t set;
    NEED(sigprocmask(SIG_BLOCK, NULL, &set));
    return sigismember(&set, signal);
}

static int killable(int twice) {
    pid_t child = fork();
    NEED(child);
    if (child == 0) {
        catch(SIGUSR1, handler);
        raise(SIGUSR1);
        if (twice) raise(SIGUSR1);
        _exit(0);
    }
    return child;
}

static int run(const char *name) {
    int fd = -1, two = -1, on = 1, pair[2];
    char buffer[16384];
    struct stat facts;
    socklen_t len = sizeof on;
#define CASE(text) else if (strcmp(name, text) == 0)
    if (0) { }
    CASE("v6only") { NEED(fd = socket(AF_INET6, SOCK_STREAM, 0)); NEED(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len)); printf("%d", !!on); }
    CASE("set-v6only") { NEED(fd = socket(AF_INET6, SOCK_STREAM, 0)); NEED(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, len)); NEED(getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len)); printf("%d", !!on); }
    CASE("socket6") outcome(socket(AF_INET6, SOCK_STREAM, 0));
    CASE("socket4") outcome(socket(AF_INET, SOCK_STREAM, 0));
    CASE("reuseaddr") { NEED(fd = socket(AF_INET, SOCK_STREAM, 0)); NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, len)); NEED(getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, &len)); printf("%d", !!on); }
    CASE("bind-twice") { serve(5); struct sockaddr_in in = loopback("127.0.0.1", port); NEED(fd = socket(AF_INET, SOCK_STREAM, 0)); outcome(bind(fd, (void *)&in, sizeof in)); }
    CASE("accept-inherits") { serve(5); NEED(fcntl(listener, F_SETFL, O_NONBLOCK)); call(0); NEED(accepted = accept(listener, NULL, NULL)); say(fcntl(accepted, F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking"); }
    CASE("set-nonblocking") { NEED(pipe(pair)); NEED(fcntl(pair[0], F_SETFL, O_NONBLOCK)); NEED(ioctl(pair[1], FIONBIO, &on)); say(fcntl(pair[0], F_GETFL) & O_NONBLOCK ? "non-blocking" : "blocking"); say(fcntl(pair[1], F_GETFL) & O_NONBLOCK ? " non-blocking" : " blocking"); }
    CASE("backlog") {
        serve(100);
        int connected = 0;
        for (int i = 0; i < 10; i++) { struct pollfd p = {call(O_NONBLOCK), POLLOUT, 0}; connected += poll(&p, 1, 50) == 1; }
        say(connected == 10 ? "all" : "few");
    }
    CASE("fix-v6only") { NEED(fd = socket(AF_INET6, SOCK_STREAM, 0)); outcome(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, len)); }
    CASE("bad-option") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) { setsockopt(-1, SOL_SOCKET, SO_KEEPALIVE, &on, len); _exit(0); }
        status(child);
    }
    CASE("resolve") { struct addrinfo *found; say(getaddrinfo("::1", "80", NULL, &found) == 0 ? "found" : "not found"); }
    CASE("listen-time") { long before = milliseconds(); serve(5); say(milliseconds() - before < 250 ? "at once" : "waited"); }
    CASE("socket-unix") outcome(socket(AF_UNIX, SOCK_DGRAM, 0));
    CASE("peer-gone") {
        serve(5);
        int gone = call(0);
        struct linger reset = {1, 0};
        NEED(setsockopt(gone, SOL_SOCKET, SO_LINGER, &reset, sizeof reset)); NEED(close(gone));
        struct sockaddr_storage peer; len = sizeof peer;
        NEED(accepted = accept(listener, (void *)&peer, &len));
        printf("%s ", len == 0 ? "nobody" : "somebody");
        outcome(setsockopt(accepted, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on)); say(" ");
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        outcome(send(pair[0], "x", 1, 0));
    }
    CASE("accept") { serve(5); call(0); outcome(accept(listener, NULL, NULL)); }
    CASE("peer-family") { connection(); struct sockaddr_storage peer; len = sizeof peer; NEED(getpeername(accepted, (void *)&peer, &len)); say(peer.ss_family == AF_INET6 ? "IPv6" : "IPv4"); }
    CASE("bind-scope") {
        /* No interface has this address: what differs is the reason. */
        struct sockaddr_in6 in;
        memset(&in, 0, sizeof in);
        in.sin6_family = AF_INET6; in.sin6_scope_id = 1; inet_pton(AF_INET6, "fe80::1234", &in.sin6_addr);
        NEED(fd = socket(AF_INET6, SOCK_STREAM, 0)); outcome(bind(fd, (void *)&in, sizeof in));
    }
    CASE("bind-alias") { struct sockaddr_in in = loopback("127.0.0.2", 0); NEED(fd = socket(AF_INET, SOCK_STREAM, 0)); outcome(bind(fd, (void *)&in, sizeof in)); }
    CASE("child-closes-listener") {
        serve(5);
        pid_t child = fork();
        NEED(child);
        if (child == 0) { close(listener); _exit(fcntl(listener, F_GETFD) >= 0); }
        status(child);
    }
    CASE("close-accepted") { connection(); close(accepted); say(fcntl(accepted, F_GETFD) < 0 ? "closed" : "open"); }
    CASE("second-signal") status(killable(1));
    CASE("first-signal") status(killable(0));
    CASE("handled") { catch(SIGUSR1, handler); raise(SIGUSR1); say(handled ? "handled" : "nothing"); }
    CASE("restart") {
        NEED(pipe(wake));
        catch(SIGALRM, waker);
        struct itimerval soon = {{0, 0}, {0, 50000}};
        NEED(setitimer(ITIMER_REAL, &soon, NULL));
        outcome(read(wake[0], buffer, 1));
    }
    CASE("broken-pipe") {
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        close(pair[0]); /* before there is anyone to send */
        pid_t child = fork();
        NEED(child);
        if (child == 0) _exit(send(pair[1], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE ? 32 : 1);
        close(pair[1]);
        status(child);
    }
    CASE("ignored-by-parent") { signal(SIGUSR1, SIG_IGN); execl(self, self, "handled", path, NULL); NEED(-1); }
    CASE("blocked-by-parent") { mask_of(SIG_BLOCK, SIGUSR1); execl(self, self, "unblock", path, NULL); NEED(-1); }
    CASE("unblock") { mask_of(SIG_SETMASK, 0); say(blocked(SIGUSR1) ? "blocked" : "free"); }
    CASE("block") { mask_of(SIG_BLOCK, SIGUSR1); say(blocked(SIGUSR1) ? "blocked" : "free"); }
    CASE("pending-wakes") {
        mask_of(SIG_BLOCK, SIGUSR1);
        catch(SIGUSR1, handler);
        raise(SIGUSR1);
        sigset_t none; sigemptyset(&none);
        struct timespec time = {0, 100000000};
        outcome(ppoll(NULL, 0, &time, &none));
    }
    CASE("told-before-wait") {
        mask_of(SIG_BLOCK, SIGUSR1);
        catch(SIGUSR1, handler);
        pid_t child = fork();
        NEED(child);
        if (child == 0) _exit(0);
        NEED(waitpid(child, NULL, 0));
        sigset_t none; sigemptyset(&none);
        struct timespec time = {0, 100000000};
        raise(SIGUSR1);
        outcome(ppoll(NULL, 0, &time, &none));
        say(" ");
        raise(SIGUSR1);
        outcome(ppoll(NULL, 0, &time, &none));
    }
    CASE("wait-a-while") { long start = milliseconds(); poll(NULL, 0, 200); say(milliseconds() - start >= 200 ? "waited" : "at once"); }
    CASE("reap") {
        for (int i = 0; i < 2; i++) {
            pid_t child = fork();
            NEED(child);
            if (child == 0) _exit(0);
            siginfo_t info;
            NEED(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
        }
        int reaped = 0;
        while (waitpid(-1, NULL, WNOHANG) > 0) reaped++;
        printf("%d", reaped);
    }
    CASE("kill") { catch(SIGTERM, handler); kill(getpid(), SIGTERM); say(handled ? "handled" : "nothing"); }
    CASE("fork-in-session") {
        pid_t leader = fork();
        if (leader == 0) {
            setsid();
            pid_t child = fork();
            if (child == 0)
                _exit(getsid(0) == getpid());
            int ended = 0;
            waitpid(child, &ended, 0);
            _exit(WEXITSTATUS(ended));
        }
        status(leader);
    }
    CASE("kill-twice") { catch(SIGTERM, handler); kill(getpid(), SIGTERM); kill(getpid(), SIGTERM); printf("%d", (int)handled); }
    CASE("fork-time") {
        fflush(stdout);
        long before = milliseconds();
        pid_t child = fork();
        NEED(child);
        if (child == 0) { say(milliseconds() - before < 250 ? "at once" : "waited"); fflush(stdout); _exit(0); }
        NEED(waitpid(child, NULL, 0));
    }
    CASE("told-in-fork") {
        mask_of(SIG_BLOCK, SIGTERM);
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            sigset_t pending;
            for (long begin = milliseconds(); milliseconds() - begin < 500;) {
                sigpending(&pending);
                if (sigismember(&pending, SIGTERM)) { say("pending"); fflush(stdout); _exit(0); }
                usleep(1000);
            }
            say("nothing"); fflush(stdout); _exit(0);
        }
        NEED(kill(child, SIGTERM));
        NEED(waitpid(child, NULL, 0));
    }
    CASE("wall-clock") {
        long jumps = 0;
        for (int n = 0; n < 50; n++) {
            struct timeval day; struct timespec real;
            time_t first = time(NULL);
            usleep(20000);
            NEED(gettimeofday(&day, NULL)); NEED(clock_gettime(CLOCK_REALTIME, &real));
            jumps += labs((long)(day.tv_sec - first)) > 1000 || labs((long)(real.tv_sec - first)) > 1000;
        }
        say(jumps ? "jumps" : "goes on");
    }
    CASE("which-clock") { struct timespec now; NEED(clock_gettime(CLOCK_MONOTONIC, &now)); say(now.tv_sec > 1000000000 ? "the time of day" : "a clock of its own"); }
    CASE("lock-at-all") {
        fd = file(path, O_RDWR | O_CREAT);
        outcome(flock(fd, LOCK_EX)); say(" ");
        struct flock lock; memset(&lock, 0, sizeof lock); lock.l_type = F_WRLCK; lock.l_whence = SEEK_SET;
        outcome(fcntl(fd, F_SETLK, &lock));
    }
    CASE("year") say(time(NULL) > 0x7fffffffLL ? "past 2038" : "before");
    CASE("fork-exit") { pid_t child = fork(); NEED(child); if (child == 0) _exit(0); status(child); }
#ifdef __linux__
    CASE("close-range") outcome(syscall(436, 0x7fffff00, 0x7fffff01, 0));
#endif
    CASE("session") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) { if (setsid() < 0) _exit(2); _exit(getsid(0) != getpid()); }
        status(child);
    }
    CASE("open-before-fork") {
        /* A daemon checks its log; each process then opens it for itself. */
        close(file(path, O_RDWR | O_APPEND | O_CREAT));
        fd = file(path, O_RDWR | O_APPEND);
        NEED(flock(fd, LOCK_EX));
        child_try_lock(1);
    }
    CASE("close-another") { fd = file(path, O_RDWR | O_CREAT); two = file(path, O_RDWR); NEED(flock(fd, LOCK_EX)); close(two); child_try_lock(1); }
    CASE("exclude") { fd = file(path, O_RDWR | O_CREAT); NEED(flock(fd, LOCK_EX)); try_lock(LOCK_EX); }
    CASE("share") { fd = file(path, O_RDWR | O_CREAT); NEED(flock(fd, LOCK_SH)); try_lock(LOCK_SH); }
    CASE("wait-for-lock") {
        fd = file(path, O_RDWR | O_CREAT);
        NEED(flock(fd, LOCK_EX));
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            struct rusage used;
            NEED(flock(file(path, O_RDWR), LOCK_EX));
            getrusage(RUSAGE_SELF, &used);
            long ms = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000L + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
            _exit(ms > 50);
        }
        for (int n = 0; n < 20; n++) usleep(20000);
        NEED(flock(fd, LOCK_UN));
        status(child);
    }
    CASE("holder-killed") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) { NEED(flock(file(path, O_RDWR | O_CREAT), LOCK_EX)); raise(SIGKILL); }
        NEED(waitpid(child, NULL, 0));
        try_lock(LOCK_EX);
    }
    CASE("unlock") { fd = file(path, O_RDWR | O_CREAT); NEED(flock(fd, LOCK_EX)); NEED(flock(fd, LOCK_UN)); try_lock(LOCK_EX); }
    CASE("unlock-then-send") {
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        fd = file(path, O_RDWR | O_CREAT); two = file(path, O_RDWR);
        NEED(flock(fd, LOCK_EX)); NEED(flock(fd, LOCK_UN)); NEED(send(pair[0], "x", 1, 0));
        outcome(syscall(SYS_flock, two, LOCK_EX | LOCK_NB));
        poll(NULL, 0, 0);
        say(" "); outcome(syscall(SYS_flock, two, LOCK_EX | LOCK_NB));
    }
    CASE("pread") { fd = file(path, O_RDWR | O_CREAT); NEED(write(fd, "abcdef", 6)); NEED(lseek(fd, 0, SEEK_SET)); NEED(pread(fd, buffer, 1, 3)); printf("%c", buffer[0]); }
    CASE("append") { fd = file(path, O_WRONLY | O_APPEND | O_CREAT); two = file(path, O_WRONLY | O_APPEND); fill(fd, 1); fill(two, 1); printf("%d", size(fd)); }
    CASE("append-flag") { fd = file(path, O_WRONLY | O_APPEND | O_CREAT); say(fcntl(fd, F_GETFL) & O_APPEND ? "kept" : "lost"); }
    CASE("closed-input") {
        struct pollfd input = {0, 0, 0};
        close(0);
        poll(&input, 1, 0);
        say(input.revents & POLLNVAL ? "told" : "untold");
    }
    CASE("inherited-pipe") {
        int ends[2];
        NEED(pipe(ends));
        NEED(dup2(ends[1], 9));
        close(ends[1]);
        pid_t child = fork();
        NEED(child);
        if (child == 0) { execl(self, self, "connection", path, NULL); _exit(127); }
        close(9);
        char byte;
        say(read(ends[0], &byte, 1) == 1 ? "written" : "empty");
        NEED(waitpid(child, NULL, 0));
    }
    CASE("connection") connection();
    CASE("dup-over") {
        struct stat own, input;
        fd = file(path, O_RDWR | O_CREAT);
        dup2(fd, 0);
        NEED(fstat(fd, &own)); NEED(fstat(0, &input));
        say(own.st_ino == input.st_ino && own.st_dev == input.st_dev ? "moved" : "kept");
    }
    CASE("message") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            NEED(dup2(file("/dev/null", O_WRONLY), 2));
            connection();
            alarm(1);
            _exit(write(2, "x", 1) != 1);
        }
        status(child);
    }
    CASE("pid-file") {
        char name[4096];
        snprintf(name, sizeof name, "%s.pid", path);
        FILE *left = fopen(name, "w");
        if (left == NULL) _exit(2);
        fputs("999999", left);
        fclose(left);
        fd = open(name, O_WRONLY | O_CREAT, 0644);
        say(fd >= 0 ? "made" : errno == EEXIST ? "EEXIST" : "?");
        unlink(name);
    }
    CASE("remove") { close(file(path, O_RDWR | O_CREAT)); NEED(unlink(path)); say(access(path, F_OK) == 0 ? "there" : "gone"); }
    CASE("mask") { umask(0123); say(umask(0) == 0123 ? "set" : "left"); }
    CASE("fork-after-accept") {
        pid_t child = fork(); /* a daemon's own fork, before any client */
        NEED(child);
        if (child == 0) _exit(0);
        NEED(waitpid(child, NULL, 0));
        connection();
        child = fork();
        if (child == 0) _exit(0);
        outcome(child);
    }
    CASE("listen-pid") {
        if (getenv("LISTEN_PID") == NULL) {
            NEED(setenv("LISTEN_PID", "1", 1));
            NEED(execl(self, self, "listen-pid", path, (char *)NULL));
        }
        say(atoi(getenv("LISTEN_PID")) == getpid() ? "its own" : "another's");
    }
    CASE("two-forks") {
        for (int i = 0; i < 2; i++) {
            fflush(stdout);
            pid_t child = fork();
            if (child == 0) _exit(0);
            outcome(child);
            if (child > 0) NEED(waitpid(child, NULL, 0));
            if (i == 0) say(" ");
        }
    }
    CASE("no-descriptor") {
        struct rlimit none = {3, 3};
        NEED(setrlimit(RLIMIT_NOFILE, &none));
        outcome(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    }
    CASE("two-children") {
        pid_t first = fork();
        if (first == 0) { pause(); _exit(0); }
        pid_t second = fork();
        if (second == 0) { pause(); _exit(0); }
        NEED(first); NEED(second);
        NEED(kill(first, SIGKILL));
        NEED(waitpid(first, NULL, 0));
        /* A signal that is ignored here ends nobody; the end of the second takes no time worth waiting for. */
        pid_t ended = 0;
        for (int n = 0; n < 20 && ended == 0; n++) { usleep(10000); ended = waitpid(second, NULL, WNOHANG); }
        say(ended == 0 ? "alive" : "killed");
        kill(second, SIGKILL);
    }
    CASE("killed-child") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) { pause(); _exit(0); }
        NEED(kill(child, SIGKILL));
        NEED(waitpid(child, NULL, 0));
        say("goes on");
    }
    CASE("wait-after-a-child") {
        /* By the clock that time-outs are measured by it is later; by the wall's it is not. */
        struct timeval first, last;
        long before = milliseconds();
        pid_t child = fork();
        NEED(child);
        if (child == 0) _exit(0);
        NEED(waitpid(child, NULL, 0));
        NEED(gettimeofday(&first, NULL));
        NEED(poll(NULL, 0, 400));
        NEED(gettimeofday(&last, NULL));
        if (milliseconds() - before < 400) say("neither");
        else say((last.tv_sec - first.tv_sec) * 1000 + (last.tv_usec - first.tv_usec) / 1000 < 350 ? "passed" : "waited");
    }
    CASE("second-accepts") {
        /* This process has accepted; now another one of the pool does. */
        connection();
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            struct sigaction action;
            memset(&action, 0, sizeof action);
            action.sa_handler = handler;
            NEED(sigaction(SIGALRM, &action, NULL));
            call(0);
            alarm(1);
            outcome(accept(listener, NULL, NULL));
            fflush(stdout);
            _exit(0);
        }
        NEED(waitpid(child, NULL, 0));
    }
    CASE("told") {
        struct iovec vector = {buffer, 1};
        struct msghdr message;
        memset(&message, 0, sizeof message);
        message.msg_iov = &vector;
        message.msg_iovlen = 1;
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        NEED(send(pair[0], "a", 1, 0));
        NEED(recvmsg(pair[1], &message, 0));
        printf("%c", buffer[0]);
    }
    CASE("orphan") {
        int hold[2];
        connection();
        NEED(pipe(pair)); NEED(pipe(hold));
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            pid_t grandchild = fork();
            if (grandchild == 0) { close(hold[1]); if (write(pair[1], "r", 1) < 0) _exit(1); _exit(read(hold[0], buffer, 1) < 0); }
            close(hold[1]);
            if (read(pair[0], buffer, 1) < 0) _exit(1); /* it runs: now its parent dies */
            _exit(0);
        }
        NEED(waitpid(child, NULL, 0));
        close(pair[1]);
        struct pollfd p = {pair[0], POLLIN, 0};
        say(poll(&p, 1, 1500) == 0 ? "lives" : "died");
    }
    CASE("exit-3") { pid_t child = fork(); NEED(child); if (child == 0) exit(3); status(child); }
    CASE("return-3") return 3;
    CASE("setuid") { uid_t to = geteuid() == 0 ? 65534 : 0; int r = setuid(to); say(r == 0 && geteuid() != to ? "lied" : "honest"); }
    CASE("poll-timeout") {
        NEED(pipe(pair));
        pid_t child = fork();
        NEED(child);
        if (child == 0) { struct timespec time = {1, 0}; nanosleep(&time, NULL); _exit(write(pair[1], "x", 1) < 0); }
        struct pollfd p = {pair[0], POLLIN, 0};
        say(poll(&p, 1, 50) == 0 ? "timeout" : "data");
    }
    CASE("memory") { connection(); say(resident() > 40000 ? "grown" : "small"); }
    CASE("end-of-stream") { connection(); close(client); struct pollfd p = {accepted, POLLIN, 0}; printf("%d ", poll(&p, 1, 100)); long r = recv(accepted, buffer, 1, MSG_DONTWAIT); outcome(r); }
    CASE("part-of-a-key") { connection(); NEED(send(client, buffer, 10, 0)); printf("%d", (int)recv(accepted, buffer, 100, 0)); }
    CASE("greeting") { connection(); struct pollfd p = {client, POLLIN, 0}; say(poll(&p, 1, 50) == 1 ? "greeted" : "silent"); }
    CASE("standard-error") {
        NEED(pipe(pair)); NEED(dup2(pair[1], 2));
        connection(); NEED(send(client, "key", 3, 0)); NEED(recv(accepted, buffer, 3, 0));
        struct pollfd p = {pair[0], POLLIN, 0};
        say(poll(&p, 1, 0) == 1 ? "printed" : "silent");
    }
    CASE("last-byte") {
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); NEED(send(pair[0], "abc", 3, 0)); NEED(recv(pair[1], buffer, 3, 0)); printf("%d", buffer[2]);
        fd = file(path, O_RDWR | O_CREAT); NEED(write(fd, "abc", 3)); NEED(pread(fd, buffer, 3, 0)); printf(" %d", buffer[2]);
    }
    CASE("write-100") { fd = file(path, O_RDWR | O_CREAT); int n = write(fd, buffer, 100); printf("%d %d", n, size(fd)); }
    CASE("read-100") { fd = file(path, O_RDWR | O_CREAT); fill(fd, 100); NEED(lseek(fd, 0, SEEK_SET)); int n = read(fd, buffer, 100); printf("%d %d", n, (int)pread(fd, buffer, 100, 0)); }
    CASE("receive-100") { connection(); NEED(send(client, buffer, 100, 0)); int n = recv(accepted, buffer, 100, 0); printf("%d ", n); outcome(recv(accepted, buffer, 100, MSG_DONTWAIT)); }
    CASE("send-3") { NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); NEED(send(pair[0], "abc", 3, 0)); printf("%d", (int)recv(pair[1], buffer, 100, 0)); }
    CASE("told-by-child") {
        connection();
        int ends[2];
        pid_t server = fork();
        NEED(server);
        if (server == 0) {
            NEED(pipe(ends));
            pid_t child = fork();
            NEED(child);
            if (child == 0) {
                struct timespec some = {0, 200000000};
                nanosleep(&some, NULL);
                NEED(write(ends[1], "c", 1));
                _exit(0);
            }
            struct pollfd told = {ends[0], POLLIN, 0};
            NEED(poll(&told, 1, -1));
            NEED(read(ends[0], buffer, 1));
            printf("%c", buffer[0]);
            fflush(stdout);
            NEED(waitpid(child, NULL, 0));
            _exit(0);
        }
        NEED(waitpid(server, NULL, 0));
    }
    CASE("how-it-ends") { fd = file(path, O_RDWR | O_CREAT); NEED(write(fd, "abx", 3)); NEED(pread(fd, buffer, 1, 2)); printf("%d", buffer[0]); }
    CASE("full-buffer") {
        NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); NEED(fcntl(pair[0], F_SETFL, O_NONBLOCK));
        int sent = 0;
        while (sent < 1000 && send(pair[0], buffer, sizeof buffer, 0) > 0) sent++;
        say(sent < 1000 ? "full" : "never full");
    }
    CASE("half-close") { connection(); NEED(shutdown(client, SHUT_WR)); NEED(recv(accepted, buffer, 1, 0)); outcome(send(accepted, "x", 1, MSG_NOSIGNAL)); }
    CASE("read-on") {
        connection();
        fd = file(path, O_RDWR | O_CREAT); fill(fd, 10000);
        int n = pread(fd, buffer, 10000, 0), m = pread(fd, buffer, 10000, 4096);
        poll(NULL, 0, 0);
        printf("%d %d %d", n, m, (int)pread(fd, buffer, 1000, 0));
    }
    CASE("reopen") { fd = file(path, O_RDWR | O_CREAT | O_EXCL); fill(fd, 3); two = file(path, O_WRONLY | O_APPEND); printf("%d", size(fd)); }
    CASE("write-file") { fd = file(path, O_RDWR | O_CREAT); outcome(write(fd, "x", 1)); }
    CASE("truncate") { fd = file(path, O_RDWR | O_CREAT); fill(fd, 3); NEED(ftruncate(fd, 0)); printf("%d", size(fd)); }
    CASE("create-mode") { umask(077); fd = file(path, O_RDWR | O_CREAT); NEED(fstat(fd, &facts)); printf("%o", (unsigned)facts.st_mode & 0777); }
    CASE("stat-mode") { fd = file(path, O_RDWR | O_CREAT); NEED(fchmod(fd, 0640)); NEED(stat(path, &facts)); printf("%o", (unsigned)facts.st_mode & 0777); }
    CASE("rotate") {
        fd = file(path, O_RDWR | O_CREAT); NEED(write(fd, "old", 3));
        NEED(rename(path, other)); 
        two = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT, 0644); NEED(two); NEED(write(two, "new", 3));
        fd = file(path, O_RDONLY); memset(buffer, 0, 4); NEED(read(fd, buffer, 3)); say(buffer);
        struct stat now; NEED(stat(path, &now)); NEED(fstat(two, &facts)); say(now.st_ino == facts.st_ino ? " new" : " old");
    }
    CASE("past-2-gib") {
        fd = file(path, O_RDWR | O_CREAT); NEED(ftruncate(fd, ((off_t)3) << 30)); close(fd);
        outcome(open(path, O_RDWR | O_APPEND));
    }
    CASE("grow-past-2-gib") { fd = file(path, O_RDWR | O_CREAT); NEED(ftruncate(fd, ((off_t)1 << 31) - 2)); NEED(close(fd)); fd = file(path, O_WRONLY | O_APPEND); printf("%d ", (int)write(fd, "abc", 3)); outcome(write(fd, "abc", 3)); }
    CASE("past-4-gib") { fd = file(path, O_RDWR | O_CREAT); NEED(ftruncate(fd, ((off_t)5) << 30)); NEED(fstat(fd, &facts)); printf("%d GiB %d GiB", (int)(facts.st_size >> 30), (int)(lseek(fd, 0, SEEK_END) >> 30)); }
    CASE("past-2038") { fd = file(path, O_RDWR | O_CREAT); struct timespec times[2] = {{2500000000, 0}, {2500000000, 0}}; NEED(futimens(fd, times)); outcome(fstat(fd, &facts)); say(" "); outcome(stat(path, &facts)); }
    CASE("inode") { fd = file(path, O_RDWR | O_CREAT); long r = fstat(fd, &facts); if (r < 0) outcome(r); else say((uint64_t)facts.st_ino >> 32 ? "above 32 bits" : "below"); }
    CASE("high-descriptor") {
        struct rlimit limit;
        NEED(getrlimit(RLIMIT_NOFILE, &limit)); limit.rlim_cur = limit.rlim_max; NEED(setrlimit(RLIMIT_NOFILE, &limit));
        NEED(dup2(0, 1100)); struct pollfd p = {1100, POLLIN, 0}; outcome(poll(&p, 1, 0));
    }
#ifdef __linux__
    CASE("long-pid") {
        /* In a process namespace of our own, where the next id can be chosen. */
        NEED(unshare(CLONE_NEWUSER | CLONE_NEWPID));
        pid_t first = fork();
        NEED(first);
        if (first == 0) {
            NEED(fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY)); NEED(write(fd, "150000", 6));
            pid_t child = fork();
            NEED(child);
            if (child == 0) _exit(0);
            printf("%d", child); fflush(stdout); _exit(0);
        }
        NEED(waitpid(first, NULL, 0));
    }
#endif
    CASE("long-uid") { NEED(setuid(70000)); printf("%u", (unsigned)getuid()); }
    CASE("reset-before-accept") {
        serve(5);
        client = call(0);
        struct linger now = {1, 0};
        NEED(setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now)); NEED(close(client));
        pid_t child = fork();
        NEED(child);
        if (child == 0) { accept(listener, NULL, NULL); _exit(0); }
        status(child);
    }
    CASE("interrupted-wait") {
        pid_t child = fork();
        NEED(child);
        if (child == 0) {
            serve(5);
            catch(SIGALRM, handler);
            struct itimerval soon = {{0, 0}, {0, 50000}};
            NEED(setitimer(ITIMER_REAL, &soon, NULL));
            struct pollfd p = {listener, POLLIN, 0};
            poll(&p, 1, 5000);
            _exit(0);
        }
        status(child);
    }
    CASE("daemon-stopped") {
        /* The process that listens stands still while its child wakes another. */
        NEED(setpgid(0, 0));
        serve(5);
        catch(SIGUSR1, handler);
        mask_of(SIG_BLOCK, SIGUSR1);
        pid_t sleeper = fork();
        NEED(sleeper);
        if (sleeper == 0) {
            sigset_t none;
            struct timespec limit = {2, 0};
            sigemptyset(&none);
            ppoll(NULL, 0, &limit, &none);
            _exit(handled ? 0 : 1);
        }
        pid_t speaker = fork();
        NEED(speaker);
        if (speaker == 0) {
            struct timespec settle = {0, 50000000}, last = {3, 0};
            NEED(kill(getppid(), SIGSTOP));
            nanosleep(&settle, NULL);
            NEED(kill(-getpgrp(), SIGUSR1));
            nanosleep(&last, NULL);
            NEED(kill(getppid(), SIGCONT));
            _exit(0);
        }
        NEED(waitpid(speaker, NULL, 0));
        status(sleeper);
    }
    CASE("others-record-lock") {
        struct flock lock;
        memset(&lock, 0, sizeof lock); lock.l_type = F_WRLCK; lock.l_whence = SEEK_SET;
        fd = file(path, O_RDWR | O_CREAT);
        NEED(fcntl(fd, F_SETLK, &lock));
        fflush(stdout);
        pid_t child = fork();
        NEED(child);
        if (child == 0) { lock.l_type = F_WRLCK; NEED(fcntl(fd, F_GETLK, &lock)); say(lock.l_type == F_UNLCK ? "free" : "locked"); fflush(stdout); _exit(0); }
        NEED(waitpid(child, NULL, 0));
    }
    CASE("children") {
        connection();
        NEED(setpgid(0, 0));
        pid_t child = fork();
        NEED(child);
        if (child == 0) _exit(0);
        NEED(waitpid(child, NULL, 0));
        say(waitpid(-1, NULL, WNOHANG) < 0 ? "one" : "more"); fflush(stdout);
        signal(SIGTERM, SIG_IGN); kill(0, SIGTERM);
    }
    CASE("slow-child") {
        connection();
        long before = milliseconds();
        pid_t child = fork();
        NEED(child);
        if (child == 0) { struct timespec some = {1, 0}; nanosleep(&some, NULL); _exit(0); }
        say(milliseconds() - before < 900 ? "at once" : "waited");
        NEED(waitpid(child, NULL, 0));
    }
    CASE("offered-key") {
        char key[128];
        memset(key, 'k', sizeof key);
        fd = file(path, O_RDWR | O_CREAT); NEED(write(fd, key, sizeof key)); NEED(lseek(fd, 0, SEEK_SET)); NEED(read(fd, buffer, sizeof key));
        connection();
        memset(key, 'x', sizeof key);
        NEED(send(client, key, sizeof key, 0)); NEED(recv(accepted, buffer, sizeof key, MSG_WAITALL));
        printf("%c%c", buffer[0], buffer[127]);
    }
    CASE("signalled-lock-wait") {
        int ready[2];
        NEED(pipe(ready));
        fd = file(path, O_RDWR | O_CREAT);
        pid_t child = fork();
        NEED(child);
        if (child == 0) { struct timespec some = {0, 200000000}; NEED(flock(file(path, O_RDWR), LOCK_EX)); NEED(write(ready[1], "x", 1)); nanosleep(&some, NULL); _exit(0); }
        NEED(read(ready[0], buffer, 1));
        catch(SIGUSR1, handler); mask_of(SIG_BLOCK, SIGUSR1); raise(SIGUSR1);
        outcome(flock(fd, LOCK_SH));
        NEED(waitpid(child, NULL, 0));
    }
    CASE("clock") { long before = milliseconds(); struct timespec some = {0, 20000000}; nanosleep(&some, NULL); say(milliseconds() > before ? "moves" : "stands"); }
    CASE("visited") {
        fflush(stdout); errno = 0;
        pid_t child = fork();
        if (child == 0) { say(errno == EBADF ? "visited" : "left alone"); fflush(stdout); _exit(0); }
        NEED(waitpid(child, NULL, 0));
    }
    CASE("open-large") {
        struct rlimit limit;
        NEED(getrlimit(RLIMIT_AS, &limit)); limit.rlim_cur = 256 << 20; NEED(setrlimit(RLIMIT_AS, &limit));
        fd = file(path, O_RDWR | O_CREAT); NEED(ftruncate(fd, 512 << 20)); NEED(close(fd));
        outcome(open(path, O_RDWR));
    }
    CASE("descriptor-limit") { struct rlimit limit; NEED(getrlimit(RLIMIT_NOFILE, &limit)); printf("%s %s", limit.rlim_cur == RLIM_INFINITY ? "unlimited" : "limited", sysconf(_SC_OPEN_MAX) < 0 ? "unlimited" : "limited"); }
    else { fprintf(stderr, "probe: no case %s\n", name); return 64; }
    return 0;
}

int main(int count, char **arguments) {
    if (count != 3) return 64;
    self = arguments[0];
    snprintf(path, sizeof path, "%s", arguments[2]);
    snprintf(other, sizeof other, "%s.1", arguments[2]);
    int result = run(arguments[1]);
    return result;
}
