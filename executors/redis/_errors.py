"""What redis-py and the server complain of, as errors of this library: what happened, why, and what to do about it.

Two kinds matter to whoever has to go on: an `UnavailableError` may be gone the next time, anything else will not be.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from redis import exceptions

from executors.redis._sockets import PlainPortError
from executors.redis._url import Address, Host
from flows.errors import ExecutorError, FlowsError, UnavailableError, UnsupportedError

ACL_COMMANDS: Final = (
    "+@hash +@list +@sortedset +@set +@string +@stream +evalsha +script|load +time +info +ping +auth +select "
    "+client|setname +cluster|slots +asking +del +unlink +exists +type +expire +pexpire +expireat +pexpireat +persist "
    "+pttl +rename +multi +exec +wait"
)
"""All that the executor calls, for a user of its own; a test runs as such a user."""

_CODE: Final = re.compile(
    r"(?:^|[\s-])-?(OOM|READONLY|MISCONF|NOREPLICAS|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY) "
)
_REDIRECT: Final = re.compile(r"(MOVED|ASK) \d+ (.*):(\d+)$")  # redis-py before 6 has no class for them
_ELSEWHERE: Final = "ttempted to access a non local key"
"""A script, on a node that is handing its slot over."""

_DENIED: Final = re.compile(
    r"has no permissions to run the '([^']+)' command|ACL failure in script|No permissions to access a"
    r"|no permissions to access|can't run this command|can't access at least one of the keys"
)
_CODES: Final[dict[type[Exception], str]] = {
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
}
_PASSING: Final = {
    "OOM": "the server is full (maxmemory), so it takes nothing new; nothing was written. Let workers drain it, retire "
    "old runs (keep=, keep_count=), or give it more memory",
    "READONLY": "it is a replica now and takes no writes; the primary is elsewhere since a failover. Wait for the "
    "address to follow, or use redis+sentinel:// or redis+cluster://",
    "MISCONF": "it takes no writes because it could not save to its disk; look at the disk and at the server's log",
    "NOREPLICAS": "it takes no writes while too few replicas follow it (min-replicas-to-write)",
    "LOADING": "it is starting and still reads its data from the disk; wait a little",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "CLUSTERDOWN": "the cluster is down: a part of its slots is served by nobody",
    "TRYAGAIN": "the slot of this namespace is being moved to another node of the cluster; wait a little",
    "BUSY": "a script that does not end keeps it busy; see SLOWLOG, and SCRIPT KILL",
}
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
ENDS_CONNECTION: Final = frozenset({"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"})
"""After these the server that we are connected to is the wrong one, or will be another."""


def code_of(error: BaseException) -> str | None:
    """The server's own word for a state that may pass, also where a script ran into it; None for other errors."""
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return code
    if isinstance(error, exceptions.ResponseError):
        if _ELSEWHERE in str(error):
            return "TRYAGAIN"
        found = _CODE.search(str(error))
        return found[1] if found else None
    return None


def redirect_of(error: object) -> tuple[str, Host] | None:
    """``MOVED`` or ``ASK`` and the node that a cluster sends us to; its host is "" where it is that of the sender."""
    if isinstance(error, exceptions.MovedError):
        return "MOVED", error.node_addr
    if isinstance(error, exceptions.AskError):
        return "ASK", error.node_addr
    found = _REDIRECT.match(str(error)) if isinstance(error, exceptions.ResponseError) else None
    return (found[1], (found[2], int(found[3]))) if found else None


def is_denied(error: BaseException) -> bool:
    """Whether the server's access list stands against it, also where a script ran into that."""
    if isinstance(error, exceptions.NoPermissionError):
        return True
    return isinstance(error, exceptions.ResponseError) and _DENIED.search(str(error)) is not None


def moving(address: Address) -> UnavailableError:
    """The slot is on its way to another node, and what we want needs all of it."""
    return UnavailableError(f"{address}: {_PASSING['TRYAGAIN']}")


def error_of(
    error: BaseException,
    address: Address,
    command: str = "",
    failure: OSError | None = None,
    node: Host | None = None,
    *,
    known: bool = False,
) -> FlowsError | None:
    """Our error for one of redis-py's or of a socket's; None for what is not about the server, but about the command.

    Args:
        command: The name of the command that met it.
        failure: What stood in the way of connecting, of which redis-py keeps only the text.
        node: Which of several servers it was.
        known: Whether the connection has been of use: then it is not the URL that is wrong.
    """
    if isinstance(error, FlowsError):
        return error
    spot = str(address) if node is None else f"{address}, at {node[0]}:{node[1]}"
    code = code_of(error)
    if code is not None:
        return UnavailableError(f"{spot}: {_PASSING[code]}")
    if is_denied(error):
        return ExecutorError(f"{spot}: {_denied(error, address, command)}")
    if isinstance(error, exceptions.AuthenticationError):
        return ExecutorError(f"{spot}: {_refused(str(error), address)}")
    if isinstance(error, exceptions.ResponseError):
        text = str(error)
        if "DB index is out of range" in text or "SELECT is not allowed" in text:
            return UnsupportedError(f"{spot}: the server has no database {address.db}; choose another by /N")
        return None
    if isinstance(failure, FlowsError):
        return failure
    if isinstance(error, (exceptions.RedisError, OSError)):
        for cause in (failure, error):
            for judge in _JUDGES:
                found = None if cause is None else judge(cause, address)
                if found is not None:
                    text = str(found).removesuffix(_hint(address)) if known else str(found)
                    return type(found)(masked(f"{spot}: {text}", address))
        return UnavailableError(masked(f"{spot}: the connection failed: {error}", address))
    return None


def masked(text: str, address: Address) -> str:
    """*text* without the passwords of *address*, whoever has put them there."""
    for secret in (address.password, address.sentinel_password):
        if secret:
            text = text.replace(secret, "***")
    return text


def _denied(error: BaseException, address: Address, command: str) -> str:
    text = str(error)
    named = re.search(r"to run the '([^']+)' command", text)
    user = address.username or "default"
    if "key" in text and named is None:
        what = f"the user {user!r} may not touch the keys of namespace {address.namespace!r}"
    else:
        what = f"the user {user!r} may not call {(named[1] if named else command or 'a command of ours').upper()}"
        if named is None and command.upper().startswith("EVAL"):
            what = f"the user {user!r} may not call a command that our scripts need"
    return f"{what}; {acl_recipe(address, user)}"


def acl_recipe(address: Address, user: str = "flows") -> str:
    """How an administrator makes a user who may do all that the executor needs, and no more."""
    return (
        "an administrator gives the right by: "
        f"ACL SETUSER {user} resetkeys ~{{{address.namespace}:* resetchannels -@all {ACL_COMMANDS}"
    )


def _refused(text: str, address: Address) -> str:
    if "Authentication required" in text or "NOAUTH" in text:
        return (
            "the server wants a password and the URL has none; write it before the host: redis://:password@host, or "
            "redis://user:password@host"
        )
    if "without any password configured" in text:
        return "the URL has a password, but the server asks for none; leave it out, or set one on the server"
    return f"wrong password for the user {address.username or 'default'!r}, or the user is disabled or unknown"


def _of_tls(error: BaseException, address: Address) -> FlowsError | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        if "mismatch" in error.verify_message.lower():
            return ExecutorError(
                f"the server's certificate is for another host name ({error.verify_message}); use that name in the URL,"
                " or ssl_check_hostname=0 if you must"
            )
        return ExecutorError(
            f"the server's certificate is not trusted ({error.verify_message}); name the authority that signed it by "
            "?ssl_ca_certs=/path/to/ca.pem"
        )
    if isinstance(error, PlainPortError) or (isinstance(error, ssl.SSLError) and error.reason in _NO_TLS):
        return ExecutorError("the port does not speak TLS; write redis:// in place of rediss://, or name its TLS port")
    if not isinstance(error, ssl.SSLError):
        return None
    if error.reason and ("CERTIFICATE_REQUIRED" in error.reason or "HANDSHAKE_FAILURE" in error.reason):
        return ExecutorError(
            f"the TLS handshake was refused ({error.reason}); if the server asks for your certificate, name it by "
            "?ssl_certfile=… and ssl_keyfile=…"
        )
    return UnavailableError(f"the TLS handshake failed ({error.reason or error})")


def _of_network(error: BaseException, address: Address) -> FlowsError | None:
    where = "the socket" if address.kind == "unix" else "the host"
    if isinstance(error, socket.gaierror):
        return UnavailableError(f"the name of the host cannot be resolved ({error.strerror}); check it, or the network")
    if isinstance(error, FileNotFoundError):
        return UnavailableError("there is no such socket; is the server running, and is this its `unixsocket`?")
    if isinstance(error, PermissionError):
        return ExecutorError("this user may not open the socket; see `unixsocketperm` in the server's configuration")
    if isinstance(error, ConnectionRefusedError):
        return UnavailableError(f"nobody listens there; {where} is up, but the server is not, or it has another port")
    if isinstance(error, (TimeoutError, exceptions.TimeoutError)):
        return UnavailableError("no answer in time; the server hangs or is overloaded, or a firewall swallows all")
    broken = any(sign in str(error) for sign in ("reset by peer", "Broken pipe", "EOF occurred"))
    if broken or isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return UnavailableError(f"the connection was reset{_hint(address)}")
    if isinstance(error, exceptions.RedisError) and "max number of clients" in str(error):
        return UnavailableError("the server has as many clients as it takes (maxclients)")
    return None


def _of_protocol(error: BaseException, address: Address) -> FlowsError | None:
    text = str(error)
    plain = _hint(address) == _TLS_HINT
    if isinstance(error, exceptions.InvalidResponse) or "Protocol error" in text or "Protocol Error" in text:
        if plain and ("\\x15\\x03" in text or "\x15" in text):
            return ExecutorError("the port speaks TLS; write rediss:// in place of redis:// (or add tls=1)")
        return ExecutorError("what answers there is no Redis server; check host and port")
    if isinstance(error, exceptions.ConnectionError) and "closed by server" in text:
        return UnavailableError(f"the server ended the connection{_hint(address)}")
    return None


_TLS_HINT: Final = "; if the port speaks TLS, write rediss://"
_CERTIFICATE_HINT: Final = (
    "; if the server asks for a certificate of yours, name it by ?ssl_certfile=/path/to/cert.pem&ssl_keyfile=..."
)


def _hint(address: Address) -> str:
    """What may be wrong with the URL where a connection ends before it was of any use."""
    if address.tls is not None:
        return "" if address.tls.cert else _CERTIFICATE_HINT
    return "" if address.kind == "unix" else _TLS_HINT


_JUDGES: Final[Sequence[Callable[[BaseException, Address], FlowsError | None]]] = (_of_tls, _of_network, _of_protocol)
