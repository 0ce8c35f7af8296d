"""Bodies of the internal API, and stand-ins for what is behind it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from notifications_operator.api.errors import KubernetesError

OPERATOR = "system:serviceaccount:notifications-system:notifications"
AUDIENCE = "notifications-gateway"
IDENTITY = "0123456789abcdef" * 2

BATCH: Mapping[str, Any] = {
    "epoch": 3,
    "notification": {
        "uid": "11111111-2222-3333-4444-555555555555",
        "namespace": "team-a",
        "name": "build-failed",
        "revision": 1,
        "redelivery": 0,
        "origin": "namespace:team-a",
        "created": "2026-03-04T05:06:07+00:00",
        "payload": {"title": "Build failed"},
    },
    "rows": [{"user": "user:default/ada", "identity": IDENTITY}],
}
"""A batch as the operator sends it."""


def batch(**changes: Any) -> dict[str, Any]:
    """Return the batch with some fields changed; ``notification__revision`` is one inside."""
    made: dict[str, Any] = copy.deepcopy(dict(BATCH))
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = made
        for parent in parents:
            place = place[parent]
        place[name] = value
    return made


@dataclass
class MemoryReviews:
    """The API server's word on tokens: users by token and audience."""

    users: dict[tuple[str, str], str] = field(default_factory=dict)
    error: KubernetesError | None = None
    asked: list[str] = field(default_factory=list)

    async def user_of(self, token: str, *, audience: str) -> str | None:
        """Answer as a TokenReview does."""
        self.asked.append(token)
        if self.error is not None:
            raise self.error
        return self.users.get((token, audience))
