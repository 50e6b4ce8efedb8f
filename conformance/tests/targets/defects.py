"""A forking chat server with two known defects, for the tests.

1. It does not set SO_REUSEADDR, so a restart fails while old connections are in TIME_WAIT.
2. It waits for one child at each SIGCHLD, and signals coalesce.

Everything else is in order: a process for each client, a log under flock, SIGUSR1 as the sign that
there is news, a key of 32 bytes that has to come within half a second, three lines of replay.

    python3 defects.py PORT LOG KEY-FILE
"""

import fcntl
import hmac
import os
import select
import signal
import socket
import sys
import time

REPLAY = 3
TIMEOUT = 0.5


def announce(news):
    """Makes signals readable, so that none is lost between a look and a wait."""
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in news:
        signal.signal(number, lambda *_: None)
    return wake


def wait(*sources, limit=None):
    """Which of the sources can be read; poll, since select ends at descriptor 1024."""
    poll = select.poll()
    known = {}
    for source in sources:
        descriptor = source if isinstance(source, int) else source.fileno()
        known[descriptor] = source
        poll.register(descriptor, select.POLLIN)
    ready = poll.poll(None if limit is None else limit * 1000)
    return [known[descriptor] for descriptor, _ in ready]


def signals_of(wake):
    try:
        return set(os.read(wake, 4096))
    except BlockingIOError:
        return set()


def read_key(client, key):
    deadline = time.monotonic() + TIMEOUT
    offered = b""
    while len(offered) < len(key):
        left = deadline - time.monotonic()
        if left <= 0 or not wait(client, limit=left):
            return False
        piece = client.recv(len(key) - len(offered))
        if not piece:
            return False
        offered += piece
    return hmac.compare_digest(offered, key)


def locked(log, operation, action):
    fcntl.flock(log, operation)
    try:
        return action()
    finally:
        fcntl.flock(log, fcntl.LOCK_UN)


def start_of_replay(log):
    """Where the last lines of the log begin; what has no newline yet is a line too."""
    position = os.fstat(log).st_size
    found = 0
    while position > 0:
        begin = max(0, position - 4096)
        block = os.pread(log, position - begin, begin)
        for at in range(len(block) - 1, -1, -1):
            last = begin + at == os.fstat(log).st_size - 1
            if block[at : at + 1] == b"\n" and not last:
                found += 1
                if found == REPLAY:
                    return begin + at + 1
        position = begin
    return 0


def serve(client, path, key):
    wake = announce([signal.SIGUSR1])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not read_key(client, key):
        return
    log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o660)
    position = locked(log, fcntl.LOCK_SH, lambda: start_of_replay(log))
    line = b""
    while True:
        while news := locked(log, fcntl.LOCK_SH, lambda: os.pread(log, 65536, position)):
            position += len(news)
            client.sendall(news)
        ready = wait(client, wake)
        signals_of(wake)
        if client not in ready:
            continue
        piece = client.recv(65536)
        if not piece:
            return
        line += piece
        end = line.rfind(b"\n") + 1
        if end:

            def append():
                written = 0
                while written < end:
                    written += os.write(log, line[written:end])

            locked(log, fcntl.LOCK_EX, append)
            line = line[end:]
            os.kill(0, signal.SIGUSR1)


def main():
    port, path, key_file = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # What was closed at the start is nothing of this server's own; nobody else writes its files.
    while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(null)
    os.umask(os.umask(0o077) | 0o002)
    os.setpgid(0, 0)
    with open(key_file, "rb") as file:
        key = file.read()
    for number in signal.SIGUSR1, signal.SIGHUP, signal.SIGPIPE:
        signal.signal(number, signal.SIG_IGN)
    wake = announce([signal.SIGTERM, signal.SIGINT, signal.SIGCHLD])
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    listener = socket.socket()  # defect 1
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    listener.setblocking(False)
    os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o660))
    mine = open(path + ".lock", "a")
    try:
        fcntl.lockf(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)  # children do not inherit it
    except OSError:
        sys.exit(f"{path}: another daemon uses it")
    print("ready", flush=True)
    while True:
        ready = wait(listener, wake)
        caught = signals_of(wake)
        if caught & {signal.SIGTERM, signal.SIGINT}:
            break
        if signal.SIGCHLD in caught:
            try:
                os.waitpid(-1, os.WNOHANG)  # defect 2
            except ChildProcessError:
                pass
        if listener not in ready:
            continue
        try:
            client, _ = listener.accept()
        except OSError:
            time.sleep(0.1)
            continue
        # An end that comes before the child has dispositions of its own waits until then.
        ends = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        try:
            child = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
            client.close()
            continue
        if child == 0:
            for number in ends:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
            listener.close()
            client.setblocking(True)
            try:
                serve(client, path, key)
            except OSError:
                pass
            os._exit(0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ends)
        client.close()
    os.kill(0, signal.SIGTERM)
    os.kill(0, signal.SIGCONT)  # who is stopped ends when it goes on
    try:
        while True:
            os.wait()
    except ChildProcessError:
        pass


main()
