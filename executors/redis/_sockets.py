"""redis-py's connections with a limit on all of connecting: finding the host, its name, TCP, TLS and the password."""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Sequence
from functools import cache
from inspect import signature
from typing import Any, Final, Protocol, cast

from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection, Connection, SSLConnection, UnixDomainSocketConnection
from redis.retry import Retry

from executors.redis._places import Place, resolved
from executors.redis._url import Address

LEAST_SECONDS: Final = 0.05
PROBE_SECONDS: Final = 0.2
# A peer that is gone without a word is noticed after half a minute, also while we only wait.
KEEPALIVE: Final = (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))


_pack: Any = None
"""Makes the bytes of a command, quickly, where that is installed."""
_Reader: Any = None
"""Reads replies, of which redis-py makes more than is needed here."""
try:
    from hiredis import Reader as _Reader
    from hiredis import pack_command as _pack
except ImportError:
    pass

READ_BYTES: Final = 32_768
_MORE: Final = object()

_poll: Final = getattr(select, "poll", None)
"""Where there is none, who asks whether a reply has come is told to wait for it."""


class PlainPortError(OSError):
    """TLS was spoken to a port that does not speak it."""


class Wire(Protocol):
    """What we use of redis-py's connections, which have no types of their own.

    Attributes:
        failure: Why connecting has failed; redis-py passes on only the text.
        host, port: Where it leads, if that is a TCP port.
    """

    failure: OSError | None
    host: str
    port: int

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def send_command(self, *command: Any, check_health: bool = ...) -> None: ...
    def post(self, *commands: Sequence[Any]) -> None:
        """Send commands in one go."""
        ...

    def pack_commands(self, commands: Sequence[Sequence[Any]]) -> list[bytes]: ...
    def send_packed_command(self, packed: list[bytes], check_health: bool = ...) -> None: ...
    def read_response(self) -> Any: ...
    def fetch(self) -> Any:
        """The reply to a command that was posted; an error of the server is raised, and those of the socket are."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is connected, as far as we know."""
        ...

    @property
    def is_readable(self) -> bool:
        """Whether something has come that was not read."""
        ...

    def allow(self, seconds: float) -> None:
        """From now on, a reply may take so long."""
        ...

    def abort(self) -> None:
        """End the connection from another thread, also while one waits for a reply."""
        ...


class _Opened:
    """What ours have in addition."""

    _sock: Any
    _parser: Any
    _replies: tuple[Any, Any] | None = None

    @property
    def is_open(self) -> bool:
        return self._sock is not None

    @property
    def is_readable(self) -> bool:
        sock = self._sock
        if sock is None or _poll is None:
            return True
        looking = _poll()
        looking.register(sock, select.POLLIN)
        return bool(looking.poll(0))

    def post(self, *commands: Sequence[Any]) -> None:
        if _pack is not None:
            try:
                packed = b"".join([_pack(tuple(command)) for command in commands])
            except TypeError:
                pass  # redis-py tells what is wrong with it
            else:
                self._sock.sendall(packed)
                return
        sender = cast("Wire", self)
        sender.send_packed_command(sender.pack_commands(commands), check_health=False)

    def fetch(self) -> Any:
        if _Reader is None:
            return cast("Wire", self).read_response()
        if self._replies is None:  # what was read before, by redis-py, has been read to its end
            errors = {"protocolError": exceptions.InvalidResponse, "replyError": self._parser.parse_error}
            self._replies = _Reader(notEnoughData=_MORE, **errors), bytearray(READ_BYTES)
        reader, room = self._replies
        reply = reader.gets()
        while reply is _MORE:
            size = self._sock.recv_into(room)
            if not size:
                raise exceptions.ConnectionError("Connection closed by server.")
            reader.feed(room, 0, size)
            reply = reader.gets()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def allow(self, seconds: float) -> None:
        self._sock.settimeout(seconds)

    def abort(self) -> None:
        sock = self._sock
        try:
            if sock is not None:
                # Not SSLSocket's own, which would take the session away from under the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        except OSError:
            pass


class Tcp(_Opened, Connection):
    """A TCP connection to where *place* finds the server, made within so many *seconds*.

    Attributes:
        failure: Why connecting has failed; redis-py passes on only the text.
    """

    _handshake_share = 1.0

    def __init__(self, *, place: Place, seconds: float, **options: Any) -> None:
        self.failure: OSError | None = None
        self._place = place
        self._seconds = seconds
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> socket.socket:
        deadline = time.monotonic() + self._seconds
        self.failure = None
        try:
            self.host, self.port = self._place.find(deadline)
            found = resolved(self.host, self.port, deadline)
            for left in range(len(found), 0, -1):
                share = max(LEAST_SECONDS, (deadline - time.monotonic()) / left)
                try:
                    return self._connected(found[-left], share, deadline)
                except OSError:
                    if left == 1:
                        raise
            raise socket.gaierror(socket.EAI_NONAME, "it has no address")
        except OSError as error:
            self.failure = error
            raise

    def _connected(self, found: tuple[Any, ...], share: float, deadline: float) -> socket.socket:
        family, kind, protocol, _, where = found
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE:
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            sock.settimeout(share)
            sock.connect(where)
            sock.settimeout(max(LEAST_SECONDS, (deadline - time.monotonic()) * self._handshake_share))
        except BaseException:
            sock.close()
            raise
        return sock


class TcpTls(SSLConnection, Tcp):
    """The same over TLS."""

    _handshake_share = 0.8  # and then we ask what the port speaks instead

    def _connect(self) -> ssl.SSLSocket:
        try:
            wrapped: ssl.SSLSocket = super()._connect()  # type: ignore[no-untyped-call]
        except OSError as error:
            # Up to the handshake `failure` is told by Tcp.
            unsure = self.failure is None and not isinstance(error, ssl.SSLCertVerificationError)
            self.failure = PlainPortError() if unsure and self._answers_plainly() else error
            raise
        return wrapped

    def _answers_plainly(self) -> bool:
        """Whether a server without TLS is there: it takes our greeting for a command, of which the end may not come."""
        try:
            with socket.create_connection((self.host, self.port), PROBE_SECONDS) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64)[:1] in (b"+", b"-")
        except OSError:
            return False


class Unix(_Opened, UnixDomainSocketConnection):
    """A connection to a unix socket."""

    def __init__(self, *, seconds: float, **options: Any) -> None:
        self.failure: OSError | None = None
        self._seconds = seconds
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> socket.socket:
        self.failure = None
        try:
            connected: socket.socket = super()._connect()  # type: ignore[no-untyped-call]
        except OSError as error:
            self.failure = error
            raise
        return connected


@cache
def plain_options() -> dict[str, Any]:
    """What keeps each version of redis-py from doing more than it is told."""
    known = signature(AbstractConnection.__init__).parameters
    quiet: dict[str, Any] = {"driver_info": None} if "driver_info" in known else {"lib_name": None, "lib_version": None}
    # RESP2: it needs no HELLO, which would carry the password in a command that old servers echo in their errors.
    return quiet | {"protocol": 2, "health_check_interval": 0}


def connection_to(
    address: Address, place: Place | None, seconds: float, *, username: str | None = None, password: str | None = None
) -> Wire:
    """A connection of redis-py's, not yet connected, that has so many seconds for connecting."""
    options = plain_options() | {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "username": username,
        "password": password,
        "seconds": seconds,
    }
    if place is None:
        return _made(Unix, path=address.path, **options)
    options["place"] = place
    tls = address.tls
    if tls is None:
        return _made(Tcp, **options)
    return _made(
        TcpTls,
        ssl_ca_certs=tls.ca,
        ssl_certfile=tls.cert,
        ssl_keyfile=tls.key,
        ssl_cert_reqs="required" if tls.verify else "none",
        ssl_check_hostname=tls.verify and tls.check_hostname,
        **options,
    )


def _made(kind: Any, **options: Any) -> Wire:
    return cast("Wire", kind(**options))
