"""Raw commands and replies over one of redis-py's connections, which sends nothing twice by itself.

`send` and `receive` are the two halves of a call, for those who have something to do meanwhile. A complaint of the
server's becomes an error of ours; after one that leaves open which reply comes next the connection is ended, and the
next call makes a new one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from executors.redis._errors import ENDS_CONNECTION, code_of, error_of, masked, moving, redirect_of
from executors.redis._functions import Functions
from executors.redis._places import Fixed
from executors.redis._sockets import Wire, connection_to
from executors.redis._url import Address, Host
from flows.errors import ExecutorError, FlowsError, UnavailableError

if TYPE_CHECKING:
    from executors.redis._connection import Link

MAX_REDIRECTS: Final = 5
SCRIPTS: Final = ("EVALSHA", "EVAL", "FCALL")

Command = Sequence[Any]


class Channel:
    """One connection, of one thread at a time. Nothing is sent a second time but what a cluster sent elsewhere.

    Args:
        purpose: What it is for, as the server's list of clients shows it.
        connect_seconds: How long connecting may take, the start-up check included.
        reply_seconds: How long a reply may take.
    """

    def __init__(self, link: Link, purpose: str, connect_seconds: float, reply_seconds: float) -> None:
        self._link = link
        self._purpose = purpose
        self._connect_seconds = connect_seconds
        self._reply_seconds = reply_seconds
        self._connection: Wire | None = None
        self._pid = 0
        self._sent: Command = ()

    @property
    def functions(self) -> Functions:
        """What is known of the server's functions."""
        return self._link.functions

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._connection is not None and self._pid == os.getpid()

    def call(self, *command: Any) -> Any:
        """Send one command and return the reply: bytes, an integer, a list of them, or None.

        Raises:
            UnavailableError: The server is away, or cannot serve us now; whether the command was done is not known.
            ExecutorError: It will not serve us.
            redis.exceptions.ResponseError: The server's complaint about the command itself.
        """
        reply = self.calls((command,))[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one go and return their replies; a complaint about a command stands where its reply would.

        Raises:
            UnavailableError: As `call`; also when one of the replies says so.
            ExecutorError: As `call`.
        """
        for _ in range(MAX_REDIRECTS):
            replies = self._exchanged(commands, asking=False)
            redirect = next((to for one in replies if isinstance(one, Exception) and (to := redirect_of(one))), None)
            if redirect is None:
                return replies
            what, (host, port) = redirect
            node = (host or self._host()[0], port)
            if what == "ASK":
                return self._asked(node, commands, replies)
            # Only commands on keys of one slot share a channel: none of them was done, or all may be done again.
            self._link.place_moved(node)
            self.close()
        raise UnavailableError(f"{self._link.address}: the nodes of the cluster send us in a circle")

    def send(self, *command: Any) -> None:
        """Send one command, whose reply `receive` fetches. Nothing else is asked of this channel in between.

        Raises:
            UnavailableError, ExecutorError: As `call`.
        """
        self._post(self.ready(), (command,))
        self._sent = command

    def is_answered(self) -> bool:
        """Whether `receive` would return at once: there is a reply, or no connection any more."""
        connection = self._connection
        return connection is None or connection.is_readable

    def receive(self) -> Any:
        """The reply to what was sent.

        Raises:
            UnavailableError, ExecutorError, redis.exceptions.ResponseError: As `call`.
        """
        command, self._sent = self._sent, ()
        connection = self._connection
        if connection is None:
            raise UnavailableError(f"{self._link.address}: the connection was ended")
        (reply,) = self._fetched(connection, (command,))
        if isinstance(reply, Exception):
            if redirect_of(reply):  # it was not done
                return self.call(*command)
            raise reply
        return reply

    def abort(self) -> None:
        """End the connection from another thread, also while this one waits for a reply: it gets an error."""
        connection = self._connection
        if connection is not None:
            connection.abort()

    def close(self) -> None:
        """End the connection. The next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()

    def ready(self) -> Wire:
        """The connection, made and checked if there is none.

        Raises:
            UnavailableError, ExecutorError: There can be none, or the server is not fit for us.
        """
        connection = self._connection
        if connection is not None and connection.is_open and self._pid == os.getpid():
            return connection
        self.close()
        link = self._link
        connection = connection_to(
            link.address,
            link.place,
            self._connect_seconds,
            username=link.address.username,
            password=link.address.password,
        )
        refusal: Exception | None = None
        try:
            connection.connect()
            self._introduce(connection)
            link.checks.check(_read(connection, "INFO"))
            connection.allow(self._reply_seconds)
        except Exception as error:
            refusal = self._refusal(error, connection)
        except BaseException:
            connection.disconnect()
            raise
        if refusal is not None:
            raise refusal  # here, so that it carries no context, in which the other side may repeat the password
        self._connection, self._pid = connection, os.getpid()
        return connection

    def _refusal(self, error: Exception, connection: Wire) -> Exception:
        address = self._link.address
        told = self._told(error, ("INFO",), connection)
        if isinstance(told, exceptions.ResponseError):
            return ExecutorError(masked(f"{address}: the server does not let us in: {told}", address))
        return told

    def _introduce(self, connection: Wire) -> None:
        address = self._link.address
        if address.db:
            try:
                _read(connection, "SELECT", address.db)
            except exceptions.ResponseError as error:
                raise (error_of(error, address, "SELECT") or error) from None
        try:
            _read(connection, "CLIENT", "SETNAME", f"flows:{address.namespace}:{self._purpose}:{os.getpid()}")
        except exceptions.ResponseError:
            pass  # a name is a courtesy, and may be forbidden

    def _exchanged(self, commands: Sequence[Command], *, asking: bool) -> list[Any]:
        connection = self.ready()
        if asking:
            commands = [part for command in commands for part in (("ASKING",), command)]
        self._post(connection, commands)
        return self._fetched(connection, commands)

    def _post(self, connection: Wire, commands: Sequence[Command]) -> None:
        try:
            connection.post(*commands)
        except Exception as error:
            raise self._told(error, commands[0], connection) from None
        except BaseException:
            self.close()
            raise

    def _fetched(self, connection: Wire, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        try:
            for command in commands:
                try:
                    replies.append(connection.fetch())
                except exceptions.ResponseError as error:
                    self._check_reply(error, str(command[0]))
                    replies.append(error)
        except FlowsError:
            if len(replies) < len(commands) - 1:
                self.close()  # the other replies are still to come
            raise
        except Exception as error:
            raise self._told(error, commands[min(len(replies), len(commands) - 1)], connection) from None
        except BaseException:
            self.close()
            raise
        return replies

    def _asked(self, node: Host, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """A slot that moves: this time, and only this time, another node has what is not here any more.

        Raises:
            UnavailableError: A script was called. Of the keys that it touches, each node has a part.
        """
        link = self._link
        if any(command[0] in SCRIPTS for command in commands):
            raise moving(link.address)
        whole = commands[0][0] == "MULTI"
        places = [place for place, reply in enumerate(replies) if whole or redirect_of(reply)]
        there = Channel(link.at(node), self._purpose, self._connect_seconds, self._reply_seconds)
        try:
            answers = there._exchanged([commands[place] for place in places], asking=True)[1::2]
        finally:
            there.close()
        for place, answer in zip(places, answers, strict=True):
            replies[place] = answer
        return replies

    def _host(self) -> Host:
        connection = self._connection
        return (connection.host, connection.port) if connection is not None else self._link.address.hosts[0]

    def _check_reply(self, error: exceptions.ResponseError, command: str) -> None:
        """Raise our error for a reply that is about the server and not about the command."""
        if isinstance(error, exceptions.NoScriptError) or redirect_of(error):
            return
        if (command == "FCALL" and self.functions.lacks(error)) or (command == "FUNCTION" and code_of(error) is None):
            return  # a script does as well
        told = error_of(error, self._link.address, command)
        if told is not None:
            if code_of(error) in ENDS_CONNECTION:
                self.close()
                self._link.place_forget()
            raise told from None

    def _told(self, error: Exception, command: Command, connection: Wire) -> Exception:
        """Our error for one that has ended the connection, or the error itself where it means nothing to us."""
        if isinstance(error, exceptions.DataError):
            return error  # of the caller's: nothing was sent
        connection.disconnect()
        known, self._connection = self._connection is not None, None
        link = self._link
        link.place_forget()
        several = link.address.kind in ("sentinel", "cluster") and not isinstance(connection.failure, FlowsError)
        node = (connection.host, connection.port) if several else None
        name = str(command[0]) if command else ""
        return error_of(error, link.address, name, connection.failure, node, known=known) or error


def ask(address: Address, host: Host, deadline: float, command: Command, *, sentinel: bool = False) -> Any:
    """One command to one node, on a connection of its own.

    Raises:
        UnavailableError: It did not answer in time, or not well.
        ExecutorError: It will not answer.
    """
    secret = (
        (address.sentinel_username, address.sentinel_password) if sentinel else (address.username, address.password)
    )
    seconds = max(0.05, deadline - time.monotonic())
    connection = connection_to(address, Fixed(host), seconds, username=secret[0], password=secret[1])
    try:
        connection.connect()
        connection.send_command(*command)
        return connection.read_response()
    except (exceptions.RedisError, OSError) as error:
        told = error_of(error, address, str(command[0]), connection.failure)
        raise told or UnavailableError(f"{host[0]}:{host[1]}: {error}") from None
    finally:
        connection.disconnect()


def _read(connection: Wire, *command: Any) -> Any:
    connection.send_command(*command, check_health=False)
    return connection.read_response()
