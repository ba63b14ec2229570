"""Watching a run: its picture recoloured while it goes on, in the output of a notebook's cell."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from flows.errors import UnavailableError, UnknownTaskError, UnsupportedError

if TYPE_CHECKING:
    from flows._draw._live import LivePicture
    from flows._run import Run
    from flows.executor import RunRecord

PAUSE_SECONDS: Final = 0.25
"""Between two pictures: more often, nobody would see the difference."""

LAYOUT_SHARE: Final = 30
"""To lay a picture out takes one part in so many of the time since the last layout at most; until that is the case, a
line of text stands in the picture's place, or the old layout. A run in this process pays for what is painted."""

RECOLOUR_SHARE: Final = 60
"""To recolour it takes one part in so many at most."""

SMALL_SECONDS: Final = 0.05
"""A widget begins with its picture if that takes no longer: about a hundred boxes."""

ELSEWHERE: Final = 0.2
"""By how much less the painter rests where the run is worked off by other processes."""

LOOK_SECONDS: Final = 1.0
"""How often one looks where nothing is heard: who wrote the change may live elsewhere."""

QUIET_SECONDS: Final = 0.5
"""How long `flows.execute` waits before it shows anything: what is over by then needs no watching."""

Show = Callable[[dict[str, Any]], None]


def watch(run: Run[Any], *, unfold: bool = False, interactive: bool = False) -> None:
    """Show a run in a notebook until it has ended: one picture, recoloured at most four times a second.

    The last picture stays in the notebook. Waits as `Run.wait` does, and like it works the run off where the executor
    is embedded and its tasks are known here. Runs of other processes can be watched, too.

    A run in this process is slowed down by a twentieth at most: where its picture takes long to make, because it has
    many jobs, a line of text tells how far it is until so much time has passed that the picture takes little of it.

    Args:
        unfold: A box for each job; else jobs that are alike share one where there are more than 200.
        interactive: Show a widget instead, which can be enlarged, and tells of a job, when it is chosen, what it waits
            for and why it failed; its data and result when asked. Does not wait, so that the notebook can answer; a run
            that nobody works off yet begins with ``run.wait()``. Front ends without widgets show the picture.

    Raises:
        UnsupportedError: There is no notebook here: ``flows runs watch`` shows a run in a terminal.
        MissingDependencyError: pygraphviz is not installed, or for `interactive` anywidget:
            ``pip install 'flowproducer[notebook]'``.
    """
    show = _cell()
    if show is None:
        raise UnsupportedError(
            "flows.watch() recolours a picture in a notebook, and this is none; in a terminal use the command "
            "`flows runs watch`, in a program run.events()"
        )
    from flows._draw._layout import engine
    from flows._draw._live import LivePicture

    engine()  # before the run is begun: it takes a while, or is not there
    picture = LivePicture(run._record, unfold=unfold)
    if interactive:
        from flows._draw._widget import RunWidget

        sparing = run._executor.embedded and not run._record.ended
        widget = RunWidget(run._record, picture, at_once=not sparing or picture.price <= SMALL_SECONDS)
        show(widget.bundle())
        painter = _Painter(run._record, lambda: picture, widget.show, sparing=sparing)
        painter.until_the_end(lambda: show(widget.bundle()))
        return
    with _Painter(run._record, lambda: picture, show, sparing=run._executor.embedded).at_work():
        try:
            run.wait()
        except UnknownTaskError:  # of an embedded executor: then other processes work it off
            await_end(run._record)


def await_end(record: RunRecord) -> None:
    """Return when a run has ended; nothing is worked off for it."""
    changed = threading.Event()
    unwatch = record.watch(changed.set)
    try:
        while not record.ended:
            changed.wait(LOOK_SECONDS)
            changed.clear()
    finally:
        unwatch()


@contextlib.contextmanager
def shown(record: RunRecord, *, sparing: bool) -> Iterator[None]:
    """In a notebook, show the run for as long as the block takes, if that is longer than a moment.

    Args:
        sparing: Whether it is worked off in this process.
    """
    show = _cell() if "ipykernel" in sys.modules else None
    if show is None:
        yield
        return
    try:
        import pygraphviz
    except ImportError:
        yield
        return
    del pygraphviz

    def made() -> LivePicture:
        from flows._draw._live import LivePicture

        return LivePicture(record)

    with _Painter(record, made, show, quiet=QUIET_SECONDS, sparing=sparing).at_work():
        yield


class _Painter:
    """Paints a run from a thread of its own, so that whoever runs handlers does not wait for pictures.

    Args:
        made: Makes the picture; called when it is needed, as many a run is over before.
        show: Takes a bundle of MIME types.
        quiet: Seconds in which nothing is shown.
        sparing: Whether the run may be worked off in this process, and so must not be slowed down: even the first
            picture then waits until it is no more than the painter's share of the time.
    """

    def __init__(
        self,
        record: RunRecord,
        made: Callable[[], LivePicture],
        show: Show,
        *,
        quiet: float = 0.0,
        sparing: bool = True,
    ) -> None:
        self._record = record
        self._made = made
        self._picture: LivePicture | None = None
        self._show = show
        self._quiet = quiet
        self._sparing = sparing
        self._rests = 1.0 if sparing else ELSEWHERE
        self._changed = threading.Event()
        self._over = threading.Event()
        self._laid_out_at = time.monotonic()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Paint until the block ends, and once more then."""
        unwatch = self._record.watch(self._stirred)
        thread = threading.Thread(target=self._paint, name="flows-watch", daemon=True)
        thread.start()
        try:
            yield
        finally:
            unwatch()
            self._over.set()
            self._changed.set()
            thread.join()

    def until_the_end(self, then: Callable[[], None]) -> None:
        """Paint until the run has ended, and call *then*; returns at once."""

        def paint() -> None:
            self._follow()
            unwatch()
            self._last()
            then()

        unwatch = self._record.watch(self._stirred)
        threading.Thread(target=paint, name="flows-watch", daemon=True).start()

    def _stirred(self) -> None:
        if not self._changed.is_set():  # called after each job: to set it takes ten times as long
            self._changed.set()

    def _paint(self) -> None:
        if self._quiet and self._over.wait(self._quiet):
            return
        self._follow()
        with contextlib.suppress(UnavailableError):
            self._last()

    def _follow(self) -> None:
        """Paint now and then, until the run has ended or nobody waits for it any more."""
        while not self._over.is_set():
            self._changed.clear()
            begun = time.monotonic()
            try:
                if self._record.ended:
                    break
                due_at = self._once(begun)
            except UnavailableError:  # for a while: the picture stays as it is
                self._over.wait(LOOK_SECONDS)
                continue
            took = time.monotonic() - max(begun, self._laid_out_at)
            if self._over.wait(max(PAUSE_SECONDS, RECOLOUR_SHARE * self._rests * took)):
                break
            self._changed.wait(None if due_at is None else max(due_at - time.monotonic(), 0.0))

    def _once(self, now: float) -> float | None:
        """Show as much as the painter's share of the time allows for.

        Returns:
            When there will be more to show even if nothing happens; None: never.
        """
        picture = self._picture = self._picture or self._made()
        price = picture.price
        due_at = self._laid_out_at + LAYOUT_SHARE * self._rests * price
        if not price or now >= due_at or not (self._sparing or picture.words):
            self._show_picture(picture.svg())
            if price:
                self._laid_out_at = time.monotonic()
            return None
        if picture.words:
            self._show_picture(picture.svg(as_laid_out=True))
        else:
            from flows._draw._live import words

            self._show({"text/plain": words(self._record)})
        return due_at

    def _last(self) -> None:
        picture = self._picture = self._picture or self._made()
        self._show_picture(picture.svg())

    def _show_picture(self, svg: str) -> None:
        assert self._picture is not None
        self._show({"image/svg+xml": svg, "text/plain": self._picture.words})


def _cell() -> Show | None:
    """What shows a picture in the cell that runs just now, first and then in the same place; None: no notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    handles: list[Any] = []

    def show(bundle: dict[str, Any]) -> None:
        if handles:
            handles[0].update(bundle, raw=True)
        else:
            handles.append(display(bundle, raw=True, display_id=True))  # type: ignore[no-untyped-call]

    return show
