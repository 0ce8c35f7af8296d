"""Which of several things happen in which round."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random


def order(names: Sequence[str], rounds: int, random: Random) -> list[str]:
    """Return so many names, each as often as the others."""
    found: list[str] = []
    while len(found) < rounds:
        found += random.sample(names, len(names))
    return found[:rounds]
