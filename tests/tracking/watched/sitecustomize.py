"""Imported by every Python process of a watched command: a connection that leaves this machine is told to a file."""

import os
import socket

_connect = socket.socket.connect


def _watched(self, address):
    local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1", "localhost")
    if not local or address[1:2] == (int(os.environ["WATCHED_PORT"]),):
        with open(os.environ["WATCHED"], "a") as file:
            file.write(f"{address}\n")
        raise OSError("no network here")
    return _connect(self, address)


socket.socket.connect = _watched
