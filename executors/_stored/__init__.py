"""The stored form of runs, shared by the stores that keep them as bytes: how flows are written down and read back."""

from executors._stored._brief import Brief, Everybody, Found, Sink, brief, look_up
from executors._stored._header import Header, Headers, Kind
from executors._stored._known import check_handlers
from executors._stored._limits import LIMITS, Limits
from executors._stored._packing import pack
from executors._stored._quick import writing_quickly
from executors._stored._reading import JobFacts, ListFacts, PastAttempt, Reader, RunFacts, StoredEvent
from executors._stored._record import StoredRecord
from executors._stored._rows import rows_from
from executors._stored._shape import (
    FORM,
    GATED,
    LIST,
    SHARES,
    Input,
    Items,
    Outer,
    Packed,
    PackedBody,
    Place,
    Shape,
)
from executors._stored._unread import Unread
from executors._stored._values import gathered, read, read_all, read_failed, write, write_failed
from executors._stored._writing import writing, writing_async, written

__all__ = [
    "FORM",
    "GATED",
    "LIMITS",
    "LIST",
    "SHARES",
    "Brief",
    "Everybody",
    "Found",
    "Header",
    "Headers",
    "Input",
    "Items",
    "JobFacts",
    "Kind",
    "Limits",
    "ListFacts",
    "Outer",
    "Packed",
    "PackedBody",
    "PastAttempt",
    "Place",
    "Reader",
    "RunFacts",
    "Shape",
    "Sink",
    "StoredEvent",
    "StoredRecord",
    "Unread",
    "brief",
    "check_handlers",
    "gathered",
    "look_up",
    "pack",
    "read",
    "read_all",
    "read_failed",
    "rows_from",
    "write",
    "write_failed",
    "writing",
    "writing_async",
    "writing_quickly",
    "written",
]
