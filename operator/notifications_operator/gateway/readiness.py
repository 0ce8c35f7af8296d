"""Whether the gateway can serve, and what is wrong with it all the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Check:
    """One of the things that are looked at.

    Attributes
    ----------
    problem
        What is wrong, if anything is.
    serving
        Whether requests should come all the same: what concerns all replicas alike must not take
        all of them away.
    """

    problem: str | None = None
    serving: bool = True

    @property
    def mark(self) -> str:
        """``+``: fine, ``!``: wrong but serving, ``-``: not serving."""
        if self.problem is None:
            return "+"
        return "!" if self.serving else "-"


Readiness = Callable[[], Mapping[str, Check]]
"""Returns all checks by name."""
