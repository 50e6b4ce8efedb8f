/*
 * Counts how often ppoll() sleeps although a signal is pending that its mask opens, when the process
 * has forked in between: never, says POSIX.
 *
 *     cc -pthread -o lost-wakeup lost-wakeup.c && ./lost-wakeup [refresh]
 *
 * With `refresh` the kernel looks anew just before each wait: sigtimedwait(), for no signal and no time.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef ROUNDS
#define ROUNDS 1000
#endif

static void handler(int signal)
{
    (void)signal;
}

int main(int argc, char **argv)
{
    int lost = 0;
    struct sigaction action = {.sa_handler = handler};
    struct timespec at_once = {0, 0};
    sigset_t open, closed;

    (void)argv;
    sigemptyset(&open);
    sigemptyset(&closed);
    sigaddset(&closed, SIGUSR1);
    sigaction(SIGUSR1, &action, NULL);
    pthread_sigmask(SIG_SETMASK, &closed, NULL); /* libthr is linked for this */

    for (int round = 0; round < ROUNDS; round++) {
        struct timespec second = {1, 0};
        kill(getpid(), SIGUSR1); /* pending from here on */
        pid_t child = fork();
        if (child == -1)
            return 2;
        if (child == 0)
            _exit(0);
        if (argc > 1)
            sigtimedwait(&open, NULL, &at_once); /* open has no signal in it */
        if (ppoll(NULL, 0, &second, &open) == 0)
            lost++;
        waitpid(child, NULL, 0);
    }
    printf("%d of %d waits slept with a signal pending\n", lost, ROUNDS);
    return lost > 0;
}
