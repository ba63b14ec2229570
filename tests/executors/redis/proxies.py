"""Faults of a network, made by a proxy between a client and a server."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import threading
from typing import Any, Final

PASS, CUT_REQUEST, DROP_REPLY, BLACK_HOLE, RESET, REFUSE = "pass", "cut", "drop", "hole", "reset", "refuse"
"""What happens to a connection: nothing; it ends before the server has heard the request, or after that and before the
reply; neither side hears of the other any more; it is reset when the next data come; or at once."""
BUFFER: Final = 65_536


class Proxy:
    """A TCP port of this machine that leads to a server's unix socket. `mode` and `delay` may be changed at any time.

    Args:
        target: The path of the unix socket.
        tls: Where given, clients speak TLS to the port.
    """

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.mode = PASS
        self.delay = 0.0
        self.struck = threading.Event()
        """Set when a fault has hit a connection."""
        self.accepted = 0
        self._tls = tls
        self._closed = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def strike(self, mode: str) -> None:
        """From now on, *mode*."""
        self.struck.clear()
        self.mode = mode

    def cut_all(self) -> None:
        """End every connection that is open."""
        with self._lock:
            ends = list(self._open)
        for end in ends:
            _shut(end)

    def close(self) -> None:
        """End the port and all of its connections."""
        self._closed.set()
        _shut(self._listener)
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        far = socket.socket(socket.AF_UNIX)
        try:
            if self.mode == REFUSE:
                self._reset(near)
                return
            if self._tls is not None:
                near = self._tls.wrap_socket(near, server_side=True)
            if self.mode != BLACK_HOLE:
                far.connect(self.target)
        except OSError:
            near.close()
            far.close()
            return
        with self._lock:
            self._open |= {near, far}
        back = threading.Thread(target=self._pump, args=(far, near, False), daemon=True)
        if self.mode != BLACK_HOLE:
            back.start()
        self._pump(near, far, True)
        if back.ident is not None:
            back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _pump(self, source: socket.socket, sink: socket.socket, request: bool) -> None:
        try:
            while data := source.recv(BUFFER):
                if self.delay:
                    self._closed.wait(self.delay)
                if not self._passes(source if request else sink, request):
                    break
                if self.mode != BLACK_HOLE:
                    sink.sendall(data)
        except OSError:
            pass
        _shut(source)
        _shut(sink)

    def _passes(self, client: socket.socket, request: bool) -> bool:
        """Whether data may go on; otherwise the connection ends here."""
        if self.mode == (CUT_REQUEST if request else DROP_REPLY):
            self.struck.set()
            return False
        if self.mode == RESET:
            self.struck.set()
            self._reset(client)
            return False
        if self.mode == BLACK_HOLE:
            self.struck.set()
        return True

    @staticmethod
    def _reset(client: socket.socket) -> None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class Parrot:
    """A TCP port where somebody answers everything with the same bytes, and to later callers nothing at all.

    Args:
        answer: The bytes.
        callers: How many are answered.
    """

    def __init__(self, answer: bytes, callers: float = math.inf) -> None:
        self._answer = answer
        self._left = callers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Parrot:
        return self

    def __exit__(self, *_: Any) -> None:
        _shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self._left -= 1
            threading.Thread(target=self._serve, args=(near, self._left >= 0), daemon=True).start()

    def _serve(self, near: socket.socket, answered: bool) -> None:
        with near:
            try:
                while near.recv(BUFFER):
                    if answered:
                        near.sendall(self._answer)
            except OSError:
                pass
