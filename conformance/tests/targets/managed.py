#!/usr/bin/env python3
"""An echo for each client by a process of its own, under a service manager: it serves on a socket that
it is handed and tells when it is ready. `managed.py PORT [DEFECT]`; with DEFECT it has that one defect."""
import contextlib
import os
import select
import signal
import socket
import sys

PORT, DEFECT = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""


def ready():
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name or DEFECT == "never-ready":
        return
    if name.startswith("@") and DEFECT != "path-only":
        name = "\0" + name[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        try:
            manager.sendto(b"STATUS=listening\nREADY=1\n", name)
        except OSError as error:
            print("no service manager:", error, flush=True)


def listener():
    meant = os.environ.get("LISTEN_PID") == str(os.getpid()) or DEFECT == "pid-unchecked"
    if os.environ.get("LISTEN_FDS") == "1" and meant and DEFECT != "ignores-sockets":
        handed = socket.socket(fileno=3)
        os.set_inheritable(3, False)
        return handed
    own = socket.socket()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if DEFECT == "ready-early":
        ready()
    own.bind(("127.0.0.1", PORT))
    own.listen(128)
    return own


def echo(client):
    try:
        while data := client.recv(65536):
            client.sendall(data)
    except OSError:
        pass
    os._exit(0)


children = set()


def reap(*_):
    try:
        while (child := os.waitpid(-1, os.WNOHANG)[0]) > 0:
            children.discard(child)
    except ChildProcessError:
        pass


def end(*_):
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if DEFECT == "shuts-down":
        server.shutdown(socket.SHUT_RDWR)
    for child in children:
        # One may have been waited for just now, by what this interrupts.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os._exit(0)


signal.signal(signal.SIGHUP, signal.SIG_DFL if DEFECT == "reload-ends" else lambda *_: None)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGCHLD, reap)
# What came between a look at the signals and the wait ends the wait.
wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
server = listener()
server.setblocking(False)
print("listening on port", server.getsockname()[1], flush=True)
if DEFECT != "ready-early":
    ready()
ENDINGS = {signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP}
while True:
    if wake in select.select([server, wake], [], [])[0]:
        os.read(wake, 4096)
        continue
    try:
        client, _ = server.accept()
    except (BlockingIOError, ConnectionAbortedError):
        continue
    client.setblocking(True)
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    child = os.fork()
    if child == 0:
        for number in ENDINGS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
        if DEFECT != "children-hold":
            server.close()
        echo(client)
    children.add(child)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDINGS)
    client.close()
