"""A chat of one process, right or with one fault, for the tests of `forkproof bench chat`.

    chat.py HOST:PORT [loses|repeats|swaps|burns]

Each line of a client goes to all. `loses` leaves out every tenth, `repeats` sends it twice, `swaps`
sends it after its speaker's next, `burns` takes 4 ms of processor time for each.
"""

import selectors
import socket
import sys
import time

port, fault = int(sys.argv[1].rsplit(":", 1)[1]), (sys.argv[2:] or [""])[0]
BURNT = 0.004

selector = selectors.DefaultSelector()
listener = socket.create_server(("127.0.0.1", port), backlog=128)
selector.register(listener, selectors.EVENT_READ)
clients = {}
count = 0
held = None


def tell(line):
    for client in list(clients):
        client.sendall(line)


def said(line):
    global count, held
    # The measurement's own words go through.
    if not line.startswith(b"~fp "):
        return tell(line)
    count += 1
    if fault == "burns":
        end = time.thread_time() + BURNT
        while time.thread_time() < end:
            pass
    if count % 10 or fault in ("", "burns"):
        tell(line)
        # Only what one client says has an order.
        if held and held.split()[1] == line.split()[1]:
            tell(held)
            held = None
    elif fault == "repeats":
        tell(line + line)
    elif fault == "swaps":
        held = line


while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[client] = b""
            selector.register(client, selectors.EVENT_READ)
            continue
        client = key.fileobj
        try:
            data = client.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            selector.unregister(client)
            del clients[client]
            client.close()
            continue
        *lines, clients[client] = (clients[client] + data).split(b"\n")
        for line in lines:
            said(line + b"\n")
