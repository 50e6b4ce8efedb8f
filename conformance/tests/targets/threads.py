"""A chat server that does not fork, for the tests: a thread for each client.

There is no key, no log and no replay, a speaker does not hear itself, and messages come as lines
and go out with a NUL byte at their end.

    python3 threads.py PORT READY-FILE
"""

import os
import signal
import socket
import socketserver
import sys
import threading
import time

clients = {}
turn = threading.Lock()


class Client(socketserver.BaseRequestHandler):
    def handle(self):
        own = self.request
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with turn:
            clients[own] = True
        try:
            with own.makefile("rb") as lines:
                for line in lines:
                    with turn:
                        for other in list(clients):
                            if other is not own:
                                try:
                                    other.sendall(line.rstrip(b"\n") + b"\0")
                                except OSError:
                                    pass
        except OSError:
            pass
        finally:
            with turn:
                clients.pop(own, None)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 4096

    def get_request(self):
        try:
            return super().get_request()
        except OSError:
            time.sleep(0.1)  # out of descriptors: the connection stays in the queue
            raise


def end(*_):
    raise SystemExit(0)


# What was closed at the start is nothing of this server's own; nobody else writes its files; and
# whoever it is given as the first process of a container is reaped.
while (null := os.open(os.devnull, os.O_RDWR)) <= 2:
    pass
os.close(null)
os.umask(os.umask(0o077) | 0o002)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, [])
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGINT, end)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
with Server(("127.0.0.1", int(sys.argv[1])), Client) as server:
    with open(sys.argv[2], "w") as file:
        file.write("ready\n")
    server.serve_forever()
