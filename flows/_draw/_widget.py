"""The picture of a run that can be asked: a widget for notebooks, whose other half is ``widget.js``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flows._draw._details import details, payload
from flows._draw._live import words
from flows.errors import MissingDependencyError

try:
    import anywidget
    import traitlets
except ImportError as error:
    raise MissingDependencyError(
        "flows.watch(run, interactive=True) needs anywidget: pip install 'flowproducer[notebook]'; without "
        "interactive=True it shows a plain picture",
        name="anywidget",
    ) from error

if TYPE_CHECKING:
    from flows._draw._live import LivePicture
    from flows.executor import RunRecord

HERE: Final = Path(__file__).parent


class RunWidget(anywidget.AnyWidget):
    """Shows a run; tells more of a box when it is chosen, and its data and results when that is asked for.

    What a job was given and what it returned goes to the browser, and so perhaps into the notebook's file, only then.

    Args:
        at_once: Whether to begin with a picture, and not with a line of words.

    Attributes:
        svg: The picture, a document whose ids stay the same for as long as only colours and notes change; at first "",
            where it would take the run too long.
        summary: How far the run is, in a line: read out when it changes.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"
    svg = traitlets.Unicode().tag(sync=True)
    summary = traitlets.Unicode().tag(sync=True)

    def __init__(self, record: RunRecord, picture: LivePicture, *, at_once: bool = True) -> None:
        svg = picture.svg() if at_once else ""
        super().__init__(svg=svg, summary=picture.words or words(record))
        self._record = record
        self._picture = picture
        self.on_msg(self._asked)

    def show(self, bundle: dict[str, str]) -> None:
        """Take the picture and the words of a bundle of MIME types."""
        with self.hold_sync():
            self.svg, self.summary = bundle.get("image/svg+xml", self.svg), bundle["text/plain"]

    def bundle(self) -> dict[str, Any]:
        """The widget, and beside it the picture for where no widgets are."""
        shown = self._repr_mimebundle_()
        picture = {"image/svg+xml": self.svg} if self.svg else {}
        return {**(shown[0] if shown else {}), **picture, "text/plain": self.summary}

    def _asked(self, _: object, content: object, __: object) -> None:
        """A box was chosen, or its data asked for: answer with what there is to know, as text."""
        match content:
            case {"box": int(place), "svg": str(mark), "what": "details" | "payload" as what}:
                boxes = self._picture.boxes(mark)
                if boxes is not None and 0 <= place < len(boxes):
                    tell = details if what == "details" else payload
                    self.send({"box": place, "what": what, "text": tell(boxes[place], self._record)})
