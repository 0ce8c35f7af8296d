"""When a failed delivery is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

from ..api.processor import RetryPolicy


def retry_delay(
    policy: RetryPolicy, *, attempts: int, retry_after: float | None, jitter: float
) -> timedelta:
    """Return the delay before the next attempt.

    Parameters
    ----------
    policy
        Bounds of the delay, which doubles with every attempt.
    attempts
        Attempts made so far, at least one.
    retry_after
        Seconds that the other side asked for: a lower bound, even above ``maxDelay``.
    jitter
        Random number from 0 to 1: takes up to a fifth off, so that many deliveries which failed
        together do not come back together.

    Returns
    -------
    timedelta
        At least what the other side asked for.
    """
    doublings = min(attempts - 1, 32)
    delay: timedelta = min(policy.min_delay * 2**doublings, policy.max_delay)
    delay = delay * (1 - jitter / 5)
    if retry_after is not None:
        delay = max(delay, timedelta(seconds=retry_after))
    return delay


def exhausted(policy: RetryPolicy, *, attempts: int, opened: datetime, next_time: datetime) -> bool:
    """Return whether a delivery is out of attempts, or would be too old at its next one."""
    return attempts >= policy.max_attempts or next_time > opened + policy.max_age
