"""Servers that are not as their manifest says, for the tests: `python3 faults.py HOW PORT`."""

import os
import select
import signal
import socket
import sys
import threading
import time

how, port = sys.argv[1], int(sys.argv[2])


def wait_for_ever():
    while True:
        time.sleep(3600)


if how == "never-listens":
    print("thinking about it", flush=True)
    wait_for_ever()
if how == "starts-slowly":
    time.sleep(600)
if how == "exits-at-once":
    sys.exit("no database")
if how == "tells-a-wrong-word":
    print("listening on port eighty", flush=True)
    wait_for_ever()
if how == "tells-a-wrong-port":
    free = socket.create_server(("127.0.0.1", 0))
    number = free.getsockname()[1]
    free.close()
    print(f"listening on port {number}", flush=True)
    wait_for_ever()
if how == "forks-an-escaper" and os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in signal.SIGTERM, signal.SIGHUP, signal.SIGINT:
            signal.signal(number, signal.SIG_IGN)
        wait_for_ever()
    os._exit(0)
if how == "hangs-on-stop":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif how == "overlooks-a-stop":
    told = []
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0) if told else told.append(1))
elif how == "overlooks-a-stop-at-work":
    signal.signal(signal.SIGTERM, lambda *_: None if works else os._exit(0))
else:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

clients = []
works = []


def serve(client):
    if how == "ends-with-its-client":
        os._exit(0)
    while piece := client.recv(65536):
        if how == "swallows-all":
            continue
        for other in clients:
            try:
                other.sendall(piece)
            except OSError:
                pass


listener = socket.create_server(("127.0.0.1", port))
print(f"listening on port {port}", flush=True)


def accept():
    while True:
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients.append(client)
        threading.Thread(target=serve, args=[client], daemon=True).start()


if how == "floods-its-output":
    line = b"x" * 65535 + b"\n"
    for _ in range(1 << 14):
        sys.stdout.buffer.write(line)
# One thread, so that whoever looks at the process sees that it works.
while how == "overlooks-a-stop-at-work":
    ready = select.select([listener, *clients], [], [])[0]
    works.append(True)
    for one in ready:
        if one is listener:
            clients.append(listener.accept()[0])
        elif piece := one.recv(65536):
            for other in clients:
                other.sendall(piece)
        else:
            clients.remove(one)
            one.close()
    until = time.monotonic() + 0.01
    while time.monotonic() < until:
        pass
    works.clear()
threading.Thread(target=accept, daemon=True).start()
wait_for_ever()
