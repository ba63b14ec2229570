"""Watching a run: its picture recoloured while it goes on, in the output of a notebook's cell."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from flows.errors import UnsupportedError

if TYPE_CHECKING:
    from flows._draw._live import LivePicture
    from flows._run import Run
    from flows.executor import RunRecord

PAUSE_SECONDS: Final = 0.25
"""Between two pictures: more often, nobody would see the difference."""

SHARE: Final = 40
"""A picture of a huge run takes a while; of the time it watches, the painter takes one part in so many at most."""

QUIET_SECONDS: Final = 0.5
"""How long `flows.execute` waits before it shows anything: what is over by then needs no watching."""

Show = Callable[[dict[str, Any]], None]


def watch(run: Run[Any], *, unfold: bool = False, interactive: bool = False) -> None:
    """Show a run in a notebook until it has ended: one picture, recoloured at most four times a second.

    The last picture stays in the notebook. Waits as `Run.wait` does, and like it works the run off where the executor
    is embedded. Runs that were submitted elsewhere can be watched, too.

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
    picture = _picture(run._record, unfold=unfold)
    if interactive:
        from flows._draw._widget import RunWidget

        widget = RunWidget(run._record, picture)
        show(widget.bundle())
        _Painter(run._record, lambda: picture, widget.show, 0.0).until_the_end(lambda: show(widget.bundle()))
        return
    with _Painter(run._record, lambda: picture, show, 0.0).at_work():
        run.wait()


@contextlib.contextmanager
def shown(record: RunRecord) -> Iterator[None]:
    """In a notebook, show the run for as long as the block takes, if that is longer than a moment."""
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
    with _Painter(record, lambda: _picture(record), show, QUIET_SECONDS).at_work():
        yield


def _picture(record: RunRecord, *, unfold: bool = False) -> LivePicture:
    from flows._draw._live import LivePicture

    return LivePicture(record, unfold=unfold)


class _Painter:
    """Paints a run from a thread of its own, so that whoever runs handlers does not wait for pictures."""

    def __init__(self, record: RunRecord, made: Callable[[], LivePicture], show: Show, quiet: float) -> None:
        self._record = record
        self._made = made  # when it is needed: to lay out a picture takes longer than many a run
        self._picture: LivePicture | None = None
        self._show = show
        self._quiet = quiet
        self._changed = threading.Event()
        self._over = threading.Event()
        self._painted = False

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Paint until the block ends, and once more then."""
        unwatch = self._record.watch(self._changed.set)
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
            ended = False
            while not ended:
                self._changed.clear()
                begun, ended = time.monotonic(), self._record.ended
                self._once()
                if not ended:
                    self._over.wait(max(PAUSE_SECONDS, SHARE * (time.monotonic() - begun)))
                    self._changed.wait()
            unwatch()
            then()

        unwatch = self._record.watch(self._changed.set)
        threading.Thread(target=paint, name="flows-watch", daemon=True).start()

    def _paint(self) -> None:
        if self._over.wait(self._quiet) and self._quiet:
            return
        while not self._over.is_set():
            self._changed.clear()
            begun = time.monotonic()
            self._once()
            if self._over.wait(max(PAUSE_SECONDS, SHARE * (time.monotonic() - begun))):
                break
            self._changed.wait()
        self._once()

    def _once(self) -> None:
        if self._picture is None:
            self._picture = self._made()
        self._show({"image/svg+xml": self._picture.svg(), "text/plain": self._picture.words()})


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
