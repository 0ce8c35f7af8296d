"""What a campaign counted, as one line for machines and one for people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(kw_only=True)
class Figures:
    """The figures of one run of one campaign.

    Attributes
    ----------
    mails
        Mails that servers accepted.
    doubles
        How many of them were copies of earlier ones.
    takeovers
        How often another process took the Lease.
    in_doubt
        Claims without a record that killed processes left, or that another leader found.
    ambiguous
        Messages that came completely and whose answer was lost.
    held
        Deliveries that ended as ``Unknown``; they are asked for again, and sent.
    instants
        At which instants the operator was killed, or which faults or strikes there were, and how
        often.
    """

    campaign: str
    seed: int
    kills: int = 0
    takeovers: int = 0
    notifications: int = 0
    deliveries: int = 0
    mails: int = 0
    doubles: int = 0
    in_doubt: int = 0
    ambiguous: int = 0
    held: int = 0
    failed: int = 0
    seconds: float = 0.0
    instants: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self) | {"seconds": round(self.seconds, 1)})

    def __str__(self) -> str:
        verdict = "kept" if not self.broken else f"{len(self.broken)} LAWS BROKEN"
        return (
            f"{self.campaign} seed {self.seed}: {self.kills} kills, "
            f"{self.takeovers} take-overs, "
            f"{self.notifications} notifications, {self.deliveries} deliveries, "
            f"{self.mails} mails, {self.doubles} doubles, {self.in_doubt} in doubt, "
            f"{self.ambiguous} answers lost, {self.held} held, {self.failed} failed, "
            f"{self.seconds:.0f} s: {verdict}"
        )
