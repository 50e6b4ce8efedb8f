/* Put before the reference server: the process that plays ROLE comes to the end that HOW names, when it
 * gets as far as "message 7". The daemon, which gets no messages, instead of serving a second client. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char word[] = "message 7";
static int depth; /* 0: the daemon, 1: a receiver, 2: a sender */

static void end_as_told(void)
{
    const char *how = getenv("HOW");
    int number = strcmp(how, "SIGUSR1") == 0   ? SIGUSR1
                 : strcmp(how, "SIGSEGV") == 0 ? SIGSEGV
                                               : SIGSTOP;
    sigset_t set;
    if (strcmp(how, "exit 3") == 0)
        _exit(3);
    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    kill(getpid(), number);
}

static int plays(const char *role)
{
    return strcmp(getenv("ROLE"), role) == 0;
}

pid_t fork(void)
{
    static int forked;
    pid_t (*real)(void) = dlsym(RTLD_NEXT, "fork");
    pid_t pid;
    if (depth == 0 && ++forked == 2 && plays("daemon"))
        end_as_told();
    pid = real();
    if (pid == 0)
        depth++;
    return pid;
}

ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    ssize_t (*real)(int, void *, size_t, int) = dlsym(RTLD_NEXT, "recv");
    ssize_t got = real(fd, buffer, size, flags);
    if (got > 0 && depth == 1 && plays("receiver") && memmem(buffer, got, word, strlen(word)))
        end_as_told();
    return got;
}

ssize_t send(int fd, const void *buffer, size_t size, int flags)
{
    ssize_t (*real)(int, const void *, size_t, int) = dlsym(RTLD_NEXT, "send");
    if (depth == 2 && plays("sender") && memmem(buffer, size, word, strlen(word)))
        end_as_told();
    return real(fd, buffer, size, flags);
}
