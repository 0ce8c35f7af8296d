"""What the campaign against the gateway counted."""

from __future__ import annotations

from dataclasses import dataclass

from ..figures import Figures


@dataclass(kw_only=True)
class GatewayFigures(Figures):
    """The figures of one run.

    Attributes
    ----------
    posts, accepted, unanswered
        Requests to send, each counted once; those that were answered with 200, and those that
        never were.
    repetitions
        How often one was asked again with its ``Idempotency-Key``.
    found
        Of those never answered, how many are Notifications all the same.
    inbox_rows, writings
        Rows in the end, and how often one was stored or overwritten.
    marks
        Marks of people that were answered with 200.
    looks
        How often a page connected and looked.
    """

    posts: int = 0
    accepted: int = 0
    unanswered: int = 0
    repetitions: int = 0
    found: int = 0
    inbox_rows: int = 0
    writings: int = 0
    marks: int = 0
    looks: int = 0

    def __str__(self) -> str:
        return (
            f"{self.posts} posts, {self.accepted} accepted, {self.repetitions} repetitions, "
            f"{self.unanswered} unanswered ({self.found} found), {self.inbox_rows} inbox rows, "
            f"{self.marks} marks, {self.looks} looks; {super().__str__()}"
        )
