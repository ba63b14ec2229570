"""Tracebacks as text. Formatting one costs far more than what else an attempt takes, and retries fail at one place."""

from __future__ import annotations

from types import CodeType, TracebackType
from typing import Final

KEPT: Final = 128
"""Places in the code whose text is kept; code objects are kept with it."""

_PLAIN: Final = frozenset((Exception, ValueError, TypeError, RuntimeError, OSError, ConnectionError, TimeoutError))
"""What is said in one line, without a guess at what was meant."""

_kept: dict[tuple[int, ...], tuple[str, list[CodeType]]] = {}
"""Texts by the identities of code objects, which are kept beside them, and the places in them."""


def traceback_text(exc: BaseException, last_line: str | None) -> str:
    """What `traceback.format_exception` says of *exc*; its own text replaced by *last_line*, where that is given."""
    if last_line is not None:
        return _frames(exc.__traceback__) + last_line
    plain = exc.__cause__ is None and (exc.__context__ is None or exc.__suppress_context__)
    if not plain or exc.__traceback__ is None or isinstance(exc, BaseExceptionGroup):
        import traceback

        return "".join(traceback.format_exception(exc))
    return f"Traceback (most recent call last):\n{_frames(exc.__traceback__)}{_only(exc)}"


def _only(exc: BaseException) -> str:
    """What `traceback.format_exception_only` says; it takes a while even where there is little to say."""
    kind = type(exc)
    if kind in _PLAIN and not hasattr(exc, "__notes__") and all(type(arg) is str for arg in exc.args):
        text = str(exc)
        return f"{kind.__qualname__}: {text}\n" if text else f"{kind.__qualname__}\n"
    import traceback

    return "".join(traceback.format_exception_only(exc))


def _frames(trace: TracebackType | None) -> str:
    codes: list[CodeType] = []
    places: list[int] = []
    following = trace
    while following is not None:
        code = following.tb_frame.f_code
        codes.append(code)
        places += (id(code), following.tb_lasti)  # of which the line follows, but by a search
        following = following.tb_next
    key = tuple(places)
    found = _kept.get(key)
    if found is not None:
        return found[0]
    import traceback

    text = "".join(traceback.format_tb(trace))
    if len(_kept) >= KEPT:
        _kept.clear()
    _kept[key] = text, codes
    return text
