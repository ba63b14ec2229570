"""Home: a file as one executor uses it: its store, its runs in work, and who watches."""

from __future__ import annotations

import itertools
import operator
import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from executors._stored import Found, Header
from executors.sqlite._claims import Drawn, Held
from executors.sqlite._database import Database
from executors.sqlite._reader import FileReader
from executors.sqlite._store import SqliteStore
from executors.sqlite._telling import Depths
from executors.sqlite._url import Place
from executors.sqlite._worked import Bytes, WorkedRun, brief_of
from flows._context import current_grant

if TYPE_CHECKING:
    from executors._store import Listener
    from flows._verbs import Settle

LOOK_SECONDS: Final = 0.05
"""How often it is looked whether the file has changed, by other processes or by links that were passed on, while
somebody watches."""


_NUMBER: Final = operator.attrgetter("grant.number")
"""The number of the run that a settle, or what is drawn, is of."""


class Home:
    """One file, opened by this process.

    Attributes:
        store: Its verbs.
        reader: What is read of its runs.
        depths: Its queues, for meters.
    """

    def __init__(self, place: Place) -> None:
        self.database = Database(place.path, place.synchronous)
        self.store = SqliteStore(self.database, self._brief)
        self.store.briefs = self._briefs  # type: ignore[method-assign]
        self.store.told = self._told
        self.store.overdue = self._overdue
        self.store.writing = Bytes
        self.store.settling = self._settling
        self.store.handed = self._handed
        self.reader = FileReader(self.database, self.listen, self.store.held_back)
        self.depths = Depths(self.store, self.reader)
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self._worked: weakref.WeakValueDictionary[int, WorkedRun] = weakref.WeakValueDictionary()
        self._headers: weakref.WeakValueDictionary[int, Header] = weakref.WeakValueDictionary()
        self._watchers: dict[int, list[Callable[[], None]]] = {}
        self._listeners: dict[str, Listener] = {}
        self._watching: threading.Thread | None = None
        self.store.listen = self.listen_for_work

    def worked(self, number: int, header: Header) -> WorkedRun:
        """The run of that number, for those who work it off here."""
        with self.lock:
            found = self._worked.get(number)
            if found is None:
                found = self._worked[number] = WorkedRun(number, header, self.notify)
        self.refresh(found)
        return found

    def waiters(self) -> list[Held]:
        """The attempt whose handler is calling, the one whose handler waits for its run, and so on."""
        found: list[Held] = []
        waiter: Any = current_grant.get(None)
        while isinstance(waiter, Held) and waiter not in found:
            run = self._worked.get(waiter.number)
            if run is None or run.id != waiter.run.id:  # of another file
                break
            found.append(waiter)
            waiter = run.awaited_by
        return found

    def refresh(self, run: WorkedRun) -> None:
        """See how the run stands."""
        rows = self.database.read("run_stand", run.number)
        if rows:
            ended_at, openings, cancelling, deadline_at = rows[0]
            with self.lock:  # what was read may be old by now: a run only goes from open to ended, unless reopened
                if openings < run.openings:
                    return
                if openings > run.openings:
                    run.reopened(openings)
                run.deadline_at = None if deadline_at is None else self.store.seconds(deadline_at)
                run.ended = run.ended or ended_at is not None
                run.state.cancelling = run.state.cancelling or bool(cancelling and not run.ended)

    def header(self, number: int) -> Header:
        """What was submitted as a run, as a whole."""
        header = self._headers.get(number)
        if header is None:
            ((payload,),) = self.database.read("header_of", number)
            header = self._headers[number] = Header(payload)
        return header

    def listen(self, number: int, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change of a run."""
        with self.lock:
            self._watchers.setdefault(number, []).append(changed)
        self._watch()

        def end() -> None:
            with self.lock:
                watchers = self._watchers.get(number, [])
                if changed in watchers:
                    watchers.remove(changed)
                if not watchers:
                    self._watchers.pop(number, None)

        return end

    def listen_for_work(self, worker: str, queues: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Tell a worker when there may be something to do."""
        with self.lock:
            self._listeners[worker] = listener
        self._watch()
        self._look_at_deadlines()

        def end() -> None:
            with self.lock:
                if self._listeners.get(worker) is listener:
                    del self._listeners[worker]

        return end

    def notify(self, number: int) -> None:
        """Tell those who watch a run."""
        for changed in tuple(self._watchers.get(number, ())):
            changed()

    def close(self) -> None:
        """Let go of the file."""
        with self.lock:
            self._watchers.clear()
            self._listeners.clear()
            watching = self._watching
        if watching is not None:
            watching.join(5.0)
        self.store.leave()
        self.database.close()

    def _brief(self, drawn: Drawn) -> Any:
        return brief_of(self.store, drawn.run.known.header, drawn, {})

    def _briefs(self, drawn: Sequence[Drawn]) -> None:
        for number, group in itertools.groupby(drawn, _NUMBER):
            run = self._worked.get(number)
            if run is not None:
                run.briefs(self.store, group)
            else:
                found: dict[int, Found] = {}
                for one in group:
                    one.grant.run = brief_of(self.store, one.run.known.header, one, found)

    def _handed(self, settle: Settle, drawn: Drawn) -> None:
        run = self._worked.get(drawn.grant.number)
        if run is not None:
            run.handed(self.store, settle.grant.job, drawn)
        else:
            self._briefs((drawn,))

    def _settling(self, settles: Sequence[Settle]) -> None:
        for number, group in itertools.groupby(settles, _NUMBER):
            run = self._worked.get(number)
            if run is not None:
                run.all_settled(list(group))

    def _told(self, touched: set[int], ended: list[int], interrupted: list[int], by: int, stirred: bool) -> None:
        for number in interrupted:
            run = self._worked.get(number)
            if run is not None:
                run.interrupt()
            if self._listeners:
                run_id = self.header(number).id
                for listener in tuple(self._listeners.values()):
                    listener.stop(run_id)
        for number in ended:
            run = self._worked.get(number)
            if run is not None:
                run.ended = True
        for number in touched:
            if number != by:
                run = self._worked.get(number)
                if run is not None:
                    run.wake()
            if self._watchers:
                self.notify(number)
        if stirred:
            for run in tuple(self._worked.values()):
                if run.number != by:
                    run.wake()
        for listener in tuple(self._listeners.values()):
            listener.wake()

    def _look_at_deadlines(self) -> None:
        ((first,),) = self.database.read("run_next_overdue")
        if first is not None:
            self._overdue(self.store.seconds(first))

    def _overdue(self, instant: float) -> None:
        for listener in tuple(self._listeners.values()):
            listener.overdue(instant)

    def _watch(self) -> None:
        """Look, in a thread, for what nobody tells of: other processes, and links; while somebody watches."""
        with self.lock:
            if self._watching is None:
                self._watching = threading.Thread(target=self._look_out, name="flows-sqlite-watch", daemon=True)
                self._watching.start()

    def _look_out(self) -> None:
        known = -1
        pause = threading.Event()
        while True:
            with self.lock:
                if not self._watchers and not self._listeners:
                    self._watching = None
                    return
                numbers = list(self._watchers)
            version = self.database.version()
            if version != known:
                known = version
                for number in numbers:
                    self.notify(number)
                for listener in tuple(self._listeners.values()):
                    listener.wake()
                if self._listeners:
                    self._look_at_deadlines()
            pause.wait(LOOK_SECONDS)
