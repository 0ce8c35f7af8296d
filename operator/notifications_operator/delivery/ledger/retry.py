"""When a failed delivery, or a failed request for one, is tried again."""

from __future__ import annotations

from datetime import datetime, timedelta

from ...api.processor import RetryPolicy


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
        Seconds that the other side asked for: a lower bound, even above ``maxDelay``. It may be
        any number, as it comes from outside; more than ``maxAge`` means never.
    jitter
        Random number from 0 to 1: takes up to a fifth off, so that many deliveries which failed
        together do not come back together.

    Returns
    -------
    timedelta
        At least what the other side asked for.
    """
    doublings = min(attempts - 1, 32)
    seconds = min(
        policy.min_delay.total_seconds() * 2.0**doublings, policy.max_delay.total_seconds()
    )
    delay = timedelta(seconds=seconds * (1 - jitter / 5))
    if retry_after is None:
        return delay
    never = policy.max_age.total_seconds() + 1
    return max(delay, timedelta(seconds=min(never, max(0.0, retry_after))))


def back_off(failures: int, *, jitter: float) -> float:
    """Return the seconds before a step is tried again that met with a failing API server.

    Parameters
    ----------
    failures
        How many have failed in a row, at least one; the delay doubles with each, up to 30 s.
    jitter
        Random number from 0 to 1: takes up to half off, because all the Notifications that an
        outage has stopped failed in the same moment.
    """
    return min(0.25 * 2.0 ** min(failures, 7), 30.0) * (1 - jitter / 2)


def exhausted(policy: RetryPolicy, *, attempts: int, opened: datetime, next_time: datetime) -> bool:
    """Return whether a delivery is out of attempts, or would be too old at its next one."""
    return attempts >= policy.max_attempts or next_time > opened + policy.max_age
