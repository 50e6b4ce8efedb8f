"""An echo server that harms whoever starts it: hostile.py MODE PORT READY-FILE PID-FILE [ARGUMENT].

It serves as it should, so that its check would pass.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time

MODE, PORT, READY, PID_FILE = sys.argv[1:5]
ARGUMENT = sys.argv[5] if len(sys.argv) > 5 else ""
libc = ctypes.CDLL(None, use_errno=True)


def parent_of(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rsplit(")", 1)[1].split()[1])


def warden():
    return parent_of(os.getppid())


def lay(text):
    with open(PID_FILE, "w") as file:
        file.write(text)


def share():
    """What outlives a process: a segment, a set of semaphores, a queue, POSIX's memory."""
    libc.shmget(0, 4096, 0o1600)
    semaphores = libc.semget(0, 1, 0o1600)
    libc.semctl(semaphores, 0, 16, 1)  # SETVAL
    queue = libc.msgget(0, 0o1600)
    libc.msgsnd(queue, b"\1" + bytes(31), 8, 0)
    name = ARGUMENT.encode()
    posix = libc.shm_open(name, os.O_CREAT | os.O_RDWR, 0o600)
    os.ftruncate(posix, 4096)


def escape():
    """The end of the title, a colour, C1, a link, NUL, what turns text, no character, no UTF-8."""
    text = "\x1b]0;owned\x07\x1b[31mred\x9b2J\x00\u202eturned\u2066\uffff]]><evil>&amp;"
    os.write(2, text.encode() + b"\xff\xfe\x80 \n")


def replace():
    """Root's files in the place of what the check has laid here."""
    for name in os.listdir("."):
        if os.path.isfile(name) and not name.endswith(".ready"):
            os.unlink(name)
            os.symlink(ARGUMENT, name)
    names = ["key", "server-1.output", "server-2.output", "program"]
    for name in names + ["chat.log"] * (MODE == "replace-log"):
        if not os.path.lexists(name):
            os.symlink(ARGUMENT, name)


def serve(client):
    with client:
        while data := client.recv(65536):
            client.sendall(data)


def main():
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", int(PORT)))
    listener.listen(64)
    if MODE == "pid-text":
        lay(ARGUMENT)
    elif MODE == "pid-link":
        os.symlink(ARGUMENT, PID_FILE)
    elif MODE == "pid-fifo":
        os.mkfifo(PID_FILE)
    elif MODE == "share":
        share()
    elif MODE == "escape":
        escape()
        os._exit(3)
    elif MODE in ("replace", "replace-log"):
        replace()
    with open(READY, "w") as ready:
        ready.write("ready\n")
    if MODE == "kill-warden":
        os.kill(warden(), signal.SIGKILL)
    elif MODE == "stop-warden":
        os.kill(warden(), signal.SIGSTOP)
    elif MODE == "kill-both":
        victim = warden()
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(victim, signal.SIGKILL)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client,), daemon=True).start()


if MODE.startswith("pid-") and os.fork():
    # The launcher's end, when the daemon listens.
    while not os.path.exists(READY):
        time.sleep(0.005)
    os._exit(0)
if MODE.startswith("pid-"):
    os.setsid()
main()
