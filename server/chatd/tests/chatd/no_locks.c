/* A file system without locks: flock fails with the error number NO_FLOCK, if that is set, and
 * record locks fail with NO_RECORD_LOCKS. To be preloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/file.h>

static int fails_with(const char *variable)
{
    const char *number = getenv(variable);
    if (number == NULL)
        return 0;
    errno = atoi(number);
    return 1;
}

int flock(int fd, int operation)
{
    int (*next)(int, int) = (int (*)(int, int))dlsym(RTLD_NEXT, "flock");
    return fails_with("NO_FLOCK") ? -1 : next(fd, operation);
}

static int control(const char *name, int fd, int command, void *argument)
{
    int (*next)(int, int, ...) = (int (*)(int, int, ...))dlsym(RTLD_NEXT, name);
    switch (command) {
    case F_GETLK:
    case F_SETLK:
#if F_SETLK64 != F_SETLK
    case F_GETLK64:
    case F_SETLK64:
#endif
        if (fails_with("NO_RECORD_LOCKS"))
            return -1;
    }
    return next(fd, command, argument);
}

#define CONTROL(name)                                                                             \
    int name(int fd, int command, ...)                                                            \
    {                                                                                             \
        va_list arguments;                                                                        \
        va_start(arguments, command);                                                             \
        void *argument = va_arg(arguments, void *);                                               \
        va_end(arguments);                                                                        \
        return control(#name, fd, command, argument);                                             \
    }

CONTROL(fcntl)
CONTROL(fcntl64)
