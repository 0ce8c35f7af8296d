"""Tells a series of samples that grows from one that only goes up and down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import linear_regression, pstdev

WARM_UP = 0.2
"""Share of the samples at the beginning that is left out: caches and pools fill."""

FEWEST = 5
"""Samples that are needed to say anything."""

NOISES = 3.0
"""Growth by less than so many standard deviations from the line is noise."""


@dataclass(frozen=True, kw_only=True)
class Trend:
    """A least-squares line through samples.

    Attributes
    ----------
    growth
        How much the line rises from its first to its last sample.
    noise
        Standard deviation of the samples from the line.
    flat
        Whether that is no growth.
    """

    growth: float
    noise: float
    flat: bool


def trend(times: Sequence[float], values: Sequence[float], *, tolerance: float) -> Trend:
    """Fit a line and judge it.

    It grows if it rises by more than `tolerance` and by more than `NOISES` times its noise.

    Parameters
    ----------
    times
        Seconds, rising.
    values
        One for each; the first ones are left out (`WARM_UP`).
    tolerance
        Growth over all of the time that is of no concern, in the unit of the values.

    Raises
    ------
    ValueError
        If there are too few samples.
    """
    start = int(len(times) * WARM_UP)
    times, values = times[start:], values[start:]
    if len(times) < FEWEST:
        raise ValueError(f"{len(times)} samples after the warm-up; at least {FEWEST} are needed")
    slope, intercept = linear_regression(times, values)
    noise = pstdev(
        value - (intercept + slope * time) for time, value in zip(times, values, strict=True)
    )
    growth = slope * (times[-1] - times[0])
    return Trend(growth=growth, noise=noise, flat=growth <= max(tolerance, NOISES * noise))
