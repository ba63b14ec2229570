"""The engine of executors that work jobs off a store: threads, a loop and a monitor around the sans-I/O cores."""

from executors._leasing._crew import Crew

__all__ = ["Crew"]
