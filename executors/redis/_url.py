"""From a URL to an address: where the server is, who we are there, and what the executor was asked to do otherwise.

`_Reading` takes it apart (scheme, credentials, hosts, path, options), each part by a rule of its own, and complains
with the URL masked; what comes of it is an `Address`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NoReturn
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from flows._duration import seconds
from flows._keeper import LEASE_SECONDS
from flows._names import check_queue, nearest, shown
from flows.errors import DefinitionError, UnknownExecutorError

Kind = Literal["tcp", "unix", "sentinel", "cluster"]
Host = tuple[str, int]

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_SHARDS: Final = 16
MAX_JOBS: Final = 100_000
MAX_DB: Final = 1_000_000
LEASES: Final = (1.0, 60.0)
"""Seconds: a shorter one ends while a garbage collection goes on, and workers say three times in one that they live."""
VARIABLES: Final = ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "REDIS_TLS")

_KINDS: Final[Mapping[str, Kind]] = {
    "redis": "tcp",
    "rediss": "tcp",
    "unix": "unix",
    "redis+cluster": "cluster",
    "redis+sentinel": "sentinel",
}
ESCAPES: Final = "in a password write %2F for /, %3F for ? and %40 for @"
_YES: Final = ("1", "true", "yes", "on")
_NO: Final = ("0", "false", "no", "off", "")


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS.

    Attributes:
        ca: A file of certificates to trust, in place of the system's.
        cert, key: The files of our own certificate and its key, where the server asks for one.
        verify: Whether the server's certificate is looked at.
        check_hostname: Whether it must bear the host's name.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    verify: bool = True
    check_hostname: bool = True


@dataclass(frozen=True, slots=True)
class Address:
    """A server, or a group of them, and what the URL said about using it. Its text and its repr hold no password.

    Attributes:
        kind: What is found at `hosts`: the server, its sentinels, or nodes of its cluster.
        path: The unix socket, where the kind is ``unix``.
        master: The name under which sentinels know the server.
        db: The number of the database.
        namespace: What our keys begin with, within braces.
        shards: Over how many slots of a cluster the namespace is spread.
        max_jobs: How many jobs a run may have.
        lease_seconds: How long a worker may be unheard of before its jobs go to others.
        allow_eviction: Whether to go on where the server may drop our keys.
        allow_server: Whether to go on with a server that is not known to be fit.
    """

    kind: Kind
    hosts: tuple[Host, ...] = ()
    path: str = ""
    master: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    namespace: str = "flows"
    shards: int = 1
    max_jobs: int = MAX_JOBS
    lease_seconds: float = LEASE_SECONDS
    allow_eviction: bool = False
    allow_server: bool = False

    def __str__(self) -> str:
        """The address as a URL without what is secret, for messages and logs."""
        if self.kind == "unix":
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        scheme = {"tcp": "redis" if self.tls is None else "rediss"}.get(self.kind, f"redis+{self.kind}")
        user = f"{self.username or ''}:***@" if self.password else f"{self.username}@" if self.username else ""
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        rest = f"/{self.master}" if self.master else ""
        return f"{scheme}://{user}{hosts}{rest}" + (f"/{self.db}" if self.db else "")


def parse(url: str, environ: Mapping[str, str] | None = None) -> Address:
    """What *url* means. Bare ``redis://`` means what the variables ``REDIS_URL``, or ``REDIS_HOST`` and its kin, say.

    Args:
        environ: The variables; None: those of the process.

    Raises:
        UnknownExecutorError: A part of it cannot be; the message names the part, and never holds a password.
    """
    return _Reading(url, os.environ if environ is None else environ).address()


class _Reading:
    """One URL being read; every complaint begins with it, its password masked."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.scheme, slashes, rest = url.partition("://")
        self.scheme = self.scheme.lower() if slashes else self.scheme.partition(":")[0].lower()
        # Not what urlsplit finds: a `/`, `?` or `#` in a password that was not escaped must not show it.
        plain, _, query = rest.partition("?")
        _, at, tail = plain.rpartition("@")
        tail = tail.partition("#")[0]
        self.spot = shown(f"{self.scheme}://{'***@' if at else ''}{'***' if '@' in query and not at else tail}")
        if self.scheme not in _KINDS or not slashes:
            known = ", ".join(f"{scheme}://" for scheme in _KINDS)
            self.refuse(f"a URL of this executor begins with one of {known}")
        self.kind = _KINDS[self.scheme]
        self.split = self._split(url)
        self.options = self._options(self.split.query)

    def refuse(self, why: str) -> NoReturn:
        raise UnknownExecutorError(f"{self.spot}: {why}")

    def address(self) -> Address:
        if self.scheme == "redis" and not self.split.netloc and self.split.path in ("", "/"):
            return self._from_variables()
        options = self._checked()
        if self.kind == "unix":
            return self._unix(options)
        db, master = self._path_parts()
        if self.kind == "cluster" and db:
            self.refuse(f"a cluster has only database 0, not {db}")
        if self.kind == "tcp" and "," in self.split.netloc.rpartition("@")[2]:
            self.refuse("one host, please; several are for redis+cluster:// and redis+sentinel://")
        username, password = self._credentials()
        return Address(
            self.kind,
            hosts=self._hosts(),
            master=master,
            db=db,
            username=username,
            password=password,
            tls=self._tls(),
            **options,
        )

    def _split(self, url: str) -> SplitResult:
        try:
            split = urlsplit(url)
        except ValueError:  # whose text may hold anything
            return self.refuse("it cannot be read as a URL; in a password write %5B for [ and %5D for ]")
        if split.fragment or ("#" in url):
            self.refuse("a # ends a URL; in a password write %23")
        if self.kind != "unix" and "@" in split.path:
            self.refuse(ESCAPES)
        return split

    def _options(self, query: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name in found:
                self.refuse(f"the option {shown(name)} is given twice")
            if name not in OPTIONS:
                if "@" in query:
                    self.refuse(ESCAPES)
                near = nearest(name, OPTIONS)
                known = f"did you mean {near[0]}?" if near else f"there are {', '.join(OPTIONS)}"
                hint = "; user and password stand before the host" if name in ("password", "username") else ""
                self.refuse(f"no option is called {shown(name)}; {known}{hint}")
            found[name] = value
        return found

    def _checked(self) -> dict[str, Any]:
        """What `Address` takes from the options."""
        taken: dict[str, Any] = {}
        for name, value in self.options.items():
            kinds, read = OPTIONS[name]
            if self.kind not in kinds:
                there = " and ".join(f"{scheme}://" for scheme, kind in _KINDS.items() if kind in kinds)
                self.refuse(f"the option {name} belongs to {there}")
            try:
                read_value = read(value)
            except (ValueError, DefinitionError) as error:
                said = "the value" if "password" in name else shown(value)
                fault = str(error).partition(f"{shown(value)}: ")[2]  # where it begins with the name and the value
                self.refuse(f"{name}={said}: {fault or error}")
            attribute = "lease_seconds" if name == "lease" else name
            if attribute != "tls" and attribute in Address.__slots__:
                taken[attribute] = read_value
        return taken

    def _credentials(self) -> tuple[str | None, str | None]:
        before, at, _ = self.split.netloc.rpartition("@")
        user, colon, password = before.partition(":")
        if at and not colon and user and self.kind != "unix":
            self.refuse("a user needs a password: user:password@host; for a password alone write :password@host")
        return unquote(user) or None, unquote(password) or None

    def _hosts(self) -> tuple[Host, ...]:
        default = SENTINEL_PORT if self.kind == "sentinel" else PORT
        listed = self.split.netloc.rpartition("@")[2]
        hosts = tuple(self._host(one, default) for one in listed.split(","))
        if len(set(hosts)) < len(hosts):
            self.refuse("a host is named twice")
        return hosts

    def _host(self, text: str, default: int) -> Host:
        if text.startswith("["):
            host, closing, rest = text[1:].partition("]")
            colon, port = rest[:1], rest[1:]
            if not closing or (rest and colon != ":"):
                self.refuse(f"{shown(text)} is no host; an IPv6 address stands in brackets: [::1]:6379")
        else:
            host, colon, port = text.partition(":")
            if ":" in port:
                self.refuse(f"{shown(text)} is no host and port; an IPv6 address stands in brackets: [::1]:6379")
        if not host:
            self.refuse(f"it names no host; write {self.scheme}://localhost:{default}")
        host = unquote(host)
        if any(char.isspace() or char in "/?#@\\" or not char.isprintable() for char in host):
            self.refuse(f"{shown(host)} is no name of a host")
        return host, self._port(port) if colon else default

    def _port(self, text: str, what: str = "the port") -> int:
        number = int(text) if text.isdecimal() and text.isascii() and len(text) < 6 else 0
        if not 1 <= number <= 65_535:
            self.refuse(f"{what} must be a number from 1 to 65535, not {shown(text)}")
        return number

    def _path_parts(self) -> tuple[int, str]:
        """The database and the name of the master."""
        parts = [unquote(part) for part in self.split.path.split("/")[1:]]
        while parts and not parts[-1]:
            parts.pop()
        master = ""
        if self.kind == "sentinel":
            if not parts or not parts[0]:
                self.refuse("it does not say which master; write redis+sentinel://host:26379/mymaster")
            master = parts.pop(0)
        if len(parts) > 1:
            self.refuse(f"the path {shown(self.split.path)} must be the number of a database, as in /0")
        if not parts:
            return 0, master
        try:
            return _whole(0, MAX_DB)(parts[0]), master
        except ValueError:
            return self.refuse(f"the database must be a number, as in /0, not {shown(parts[0])}")

    def _unix(self, options: dict[str, Any]) -> Address:
        host = self.split.netloc.rpartition("@")[2]
        path = unquote(self.split.path)
        if host or not path.startswith("/") or path.endswith("/"):
            self.refuse("it must name a socket by its full path, with three slashes: unix:///run/redis/redis.sock")
        username, password = self._credentials()
        return Address("unix", path=path, username=username, password=password, **options)

    def _tls(self) -> Tls | None:
        given = {name: OPTIONS[name][1](value) for name, value in self.options.items() if name.startswith("ssl_")}
        if self.scheme != "rediss" and not (self.options.get("tls") and _flag(self.options["tls"])):
            if given:
                remedy = "rediss://" if self.kind == "tcp" else "tls=1"
                self.refuse(f"{next(iter(given))} has no meaning without TLS; say {remedy}")
            return None
        if "ssl_keyfile" in given and "ssl_certfile" not in given:
            self.refuse("ssl_keyfile needs ssl_certfile")
        return Tls(
            given.get("ssl_ca_certs"),
            given.get("ssl_certfile"),
            given.get("ssl_keyfile"),
            given.get("ssl_cert_reqs", True),
            given.get("ssl_check_hostname", True),
        )

    def _from_variables(self) -> Address:
        """The address that the variables give, with the options of this URL."""
        url = self.environ.get("REDIS_URL", "")
        if url:
            found = _Reading(url, {})
            if not found.split.netloc and not found.split.path.strip("/"):
                self.refuse("the variable REDIS_URL names no host itself")
            found.options |= self.options
            found.spot = f"{found.spot} (of the variable REDIS_URL)"
            return found.address()
        host = self.environ.get("REDIS_HOST", "")
        if not host:
            self.refuse(
                "it names no host, and neither REDIS_URL nor REDIS_HOST is set; write redis://localhost:6379/0, say"
            )
        options = self._checked()
        port = self.environ.get("REDIS_PORT", "")
        tls = self.environ.get("REDIS_TLS", "").lower()
        if tls not in (*_YES, *_NO):
            self.refuse(f"the variable REDIS_TLS must be 1 or 0, not {shown(tls)}")
        if tls in _YES:
            self.scheme = "rediss"
        bracketed = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        name, _ = self._host(bracketed, PORT)
        found_port = self._port(port, "the variable REDIS_PORT") if port else PORT
        password = self.environ.get("REDIS_PASSWORD") or None
        return replace(
            Address("tcp", hosts=((name, found_port),), password=password, tls=self._tls()),
            **options,
        )


def _flag(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO[:-1]):
        raise ValueError("it must be 1 or 0")
    return text.lower() in _YES


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        # Python does not read thousands of digits.
        number = int(text) if text.isdecimal() and text.isascii() and len(text) < 20 else low - 1
        if not low <= number <= high:
            raise ValueError(f"it must be a whole number from {low} to {high}")
        return number

    return read


def _file(text: str) -> str:
    if not os.path.isfile(text):
        raise ValueError("there is no such file")
    return text


def _verified(text: str) -> bool:
    if text not in ("required", "none"):
        raise ValueError("it must be required or none")
    return text == "required"


def _lease(text: str) -> float:
    low, high = LEASES
    lease = seconds(int(text) if text.isdecimal() and len(text) < 6 else text, "the lease")
    if not low <= lease <= high:
        raise ValueError(f"it must be from {low:g} to {high:g} seconds")
    return lease


def _namespace(text: str) -> str:
    return check_queue(text, "namespace")


_ANY: Final = ("tcp", "unix", "sentinel", "cluster")
_REMOTE: Final = ("tcp", "sentinel", "cluster")

OPTIONS: Final[Mapping[str, tuple[tuple[str, ...], Callable[[str], Any]]]] = {
    "namespace": (_ANY, _namespace),
    "shards": (("cluster",), _whole(1, MAX_SHARDS)),
    "max_jobs": (_ANY, _whole(1, 10_000_000)),
    "lease": (_ANY, _lease),
    "allow_eviction": (_ANY, _flag),
    "allow_server": (_ANY, _flag),
    "db": (("unix",), _whole(0, MAX_DB)),
    "tls": (("sentinel", "cluster"), _flag),
    "ssl_ca_certs": (_REMOTE, _file),
    "ssl_certfile": (_REMOTE, _file),
    "ssl_keyfile": (_REMOTE, _file),
    "ssl_cert_reqs": (_REMOTE, _verified),
    "ssl_check_hostname": (_REMOTE, _flag),
    "sentinel_username": (("sentinel",), str),
    "sentinel_password": (("sentinel",), str),
}
"""Option -> the kinds of address that it belongs to, and how its text is read. Those of TLS have redis-py's names."""
