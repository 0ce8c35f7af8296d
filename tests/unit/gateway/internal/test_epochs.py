"""A former leader's deliveries are kept out, but never those of a new installation."""

from __future__ import annotations

import pytest

from notifications_operator.gateway.errors import ConflictError
from notifications_operator.gateway.internal.epochs import MEMORY_SECONDS, Epochs


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_epoch_that_is_over_is_refused() -> None:
    epochs = Epochs(clock=Clock())
    for epoch in (0, 1, 1, 4):
        epochs.admit(epoch)
    with pytest.raises(ConflictError, match="epoch 3 is over; 4"):
        epochs.admit(3)
    epochs.admit(4)


def test_a_lease_that_was_made_anew_is_admitted_after_a_while() -> None:
    clock = Clock()
    epochs = Epochs(clock=clock)
    epochs.admit(57)
    clock.now += MEMORY_SECONDS - 1
    with pytest.raises(ConflictError):
        epochs.admit(1)
    clock.now += 1
    epochs.admit(1)
    epochs.admit(1)
