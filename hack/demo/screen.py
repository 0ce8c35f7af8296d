"""What the demo shows: commands as one would type them, and a line for each finished step."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TextIO

_BOLD, _DIM, _RED, _GREEN = "1", "2", "31", "32"
_WIDTH: Final = 78
"""Columns up to the seconds of a step."""


@dataclass
class Step:
    """A step under way.

    Attributes
    ----------
    text
        What its line says; may be made more exact before the step ends.
    """

    text: str


class Screen:
    """Writes to one stream, in colour where it is a terminal that wants it (no-color.org)."""

    def __init__(self, stream: TextIO = sys.stdout, *, colored: bool | None = None) -> None:
        self._stream = stream
        if colored is None:
            colored = stream.isatty() and not os.environ.get("NO_COLOR")
        self._colored = colored

    def title(self, text: str) -> None:
        """Begin a part."""
        self._print(f"\n{self._paint(text, _BOLD)}\n")

    def command(self, text: str) -> None:
        """Show a command."""
        self._print(self._paint(f"  $ {text}", _DIM))

    def progress(self, line: str) -> None:
        """Show a sign of life of a command that takes a while."""
        self._print(self._paint(f"    {line}", _DIM))

    def output(self, text: str) -> None:
        """Show what a command has printed, or something else of several lines."""
        for line in text.rstrip("\n").split("\n"):
            self._print(f"  {line}".rstrip())

    def note(self, text: str) -> None:
        """Say something to the user."""
        self._print(text)

    @contextmanager
    def step(self, text: str) -> Iterator[Step]:
        """Show how a step ended, and the seconds it took."""
        step = Step(text)
        started = time.monotonic()
        try:
            yield step
        except BaseException:
            self._result("✗", _RED, step.text, started)
            raise
        self._result("✓", _GREEN, step.text, started)

    def _result(self, mark: str, color: str, text: str, started: float) -> None:
        seconds = f"{time.monotonic() - started:.1f} s"
        room = max(_WIDTH - len(text) - len(seconds), 1)
        self._print(f"{self._paint(mark, color)} {text}{' ' * room}{self._paint(seconds, _DIM)}")

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self._colored else text

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)
