"""Runs commands and shows them as the user would type them."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from hack.demo.errors import DemoError
from hack.demo.screen import Screen
from hack.image.layout import REPOSITORY

_SHOWN_ERROR_LINES = 15
_WIDTH = 92
"""Columns of a command, more or less."""


@dataclass(frozen=True, kw_only=True)
class Commands:
    """A shell of sorts: in the repository, with an environment of its own.

    Attributes
    ----------
    environment
        Added to this process's.
    programs
        Paths of programs that are shown by their bare names.
    """

    screen: Screen
    environment: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Path] = field(default_factory=dict)

    def run(self, *argv: str | Path, text: str | None = None, shown: bool = True) -> str:
        """Run a command and return what it prints.

        Parameters
        ----------
        text
            Its standard input.
        shown
            Whether the user sees the command.

        Raises
        ------
        DemoError
            If it fails, with what it said.
        """
        words = [_relative(word) for word in argv]
        if shown:
            self.show(*words)
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                [self._program(words[0]), *words[1:]],
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                cwd=REPOSITORY,
                env=os.environ | self.environment,
            )
            with process:
                if process.stdin is not None and text is not None:
                    process.stdin.write(text)
                    process.stdin.close()
                errors = self._listen(process, words[0])
            if process.returncode != 0:
                raise DemoError(
                    f"{shlex.join(words)}: exit status {process.returncode}\n"
                    + "\n".join(errors[-_SHOWN_ERROR_LINES:])
                )
            output.seek(0)
            return output.read()

    def show(self, *words: str) -> None:
        """Show a command without running it."""
        self.screen.command(_folded([_shown(word) for word in words]))

    def _listen(self, process: subprocess.Popen[str], program: str) -> Sequence[str]:
        """Collect what a command says beside its output; our own tools report progress there."""
        assert process.stderr is not None, "started with a pipe"
        lines = []
        for line in process.stderr:
            lines.append(line.rstrip("\n"))
            if program == "python":
                self.screen.progress(lines[-1])
        return lines

    def _program(self, name: str) -> str:
        if name == "python":
            return sys.executable
        return str(self.programs.get(name, name))


def with_home(path: Path | str) -> str:
    """Return a path, or what contains one, with the home directory as a shell knows it."""
    return str(path).replace(f"{Path.home()}/", "$HOME/")


def _shown(word: str) -> str:
    """Return a word of a command as one would type it."""
    if word == "python":
        return ".venv/bin/python"
    quoted = shlex.quote(word)
    return with_home(word) if quoted == word else quoted


def _folded(words: Sequence[str]) -> str:
    """Return a command, on several lines if it is long; an option stays with its value."""
    lines = [""]
    for word in _with_values(words):
        if lines[-1] and len(lines[-1]) + len(word) > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n  ".join(lines)


def _with_values(words: Sequence[str]) -> list[str]:
    """Return words, or an option and what follows as one."""
    joined: list[str] = []
    for before, word in pairwise(("", *words)):
        if before.startswith("-") and "=" not in before and not word.startswith("-"):
            joined[-1] += f" {word}"
        else:
            joined.append(word)
    return joined


def _relative(word: str | Path) -> str:
    """Return a path in the repository as seen from there; anything else as it is."""
    if isinstance(word, Path) and word.is_relative_to(REPOSITORY):
        return str(word.relative_to(REPOSITORY))
    return str(word)
