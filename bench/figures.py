"""What a benchmark finds out: figures, the table and the lines of JSON they are printed as."""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One number, with the same number of a peer that was measured in the same run.

    Attributes
    ----------
    figure
        Its name; parts are separated by dots.
    value
        What was measured.
    unit
        Of both values.
    peer, peer_value
        What it is compared with; None where only the number itself tells something, such as
        patches that must not happen.
    """

    figure: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """The value by the peer's; None without one, or where the peer's is zero."""
        return self.value / self.peer_value if self.peer_value else None

    def to_json(self) -> str:
        """Return one line of JSON."""
        fields = ("figure", "value", "unit", "peer", "peer_value", "ratio")
        return json.dumps({name: _rounded(getattr(self, name)) for name in fields})


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as a table for people."""
    header = ("figure", "value", "unit", "peer", "its value", "ratio")
    rows = [
        header,
        *(
            (
                figure.figure,
                _text(figure.value),
                figure.unit,
                figure.peer or "",
                _text(figure.peer_value),
                _text(figure.ratio),
            )
            for figure in figures
        ),
    ]
    return text_table(rows, left=(0, 2, 3))


def text_table(rows: Sequence[Sequence[str]], *, left: Collection[int] = ()) -> str:
    """Return rows, the first of them the header, in aligned columns.

    Parameters
    ----------
    left
        Columns that are aligned at their left, not at their right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _rounded(value: object) -> object:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _text(value: float | None) -> str:
    if value is None:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def percentiles(times: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile of all there were."""
    return statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[-1]
