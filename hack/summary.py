"""Sums up test reports: what passed, what failed, what was skipped, and why.

`make test` runs pytest more than once, and each run's own summary speaks of that run alone.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# The reports are our own.
from xml.etree import ElementTree


@dataclass(frozen=True)
class Case:
    """One test, and how it ended.

    Attributes
    ----------
    outcome
        `passed`, `failed` or `skipped`; an error outside the test itself counts as failed.
    reason
        Why it was skipped.
    peak
        Most memory of its process meanwhile in MiB, if that was measured.
    """

    name: str
    outcome: str
    reason: str = ""
    peak: int = 0


def read_cases(report: Path) -> Iterator[Case]:
    """Yield the tests of a report in JUnit's form, as pytest writes it."""
    for element in ElementTree.parse(report).iter("testcase"):
        name = f"{element.get('classname')}::{element.get('name')}"
        peak = _peak(element)
        skipped = element.find("skipped")
        if element.find("failure") is not None or element.find("error") is not None:
            yield Case(name, "failed", peak=peak)
        elif skipped is not None:
            yield Case(name, "skipped", skipped.get("message") or "no reason was given", peak)
        else:
            yield Case(name, "passed", peak=peak)


def _peak(case: ElementTree.Element) -> int:
    """Return the property that `tests.support.limits` gives each test."""
    found = case.find("properties/property[@name='peak_mib']")
    return 0 if found is None else int(found.get("value", "0"))


def summarize(cases: Iterable[Case]) -> list[str]:
    """Return the lines of the summary: each reason with its number of tests, then the totals."""
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for case in cases:
        outcomes[case.outcome] += 1
        if case.outcome == "skipped":
            reasons[case.reason] += 1
    totals = ", ".join(f"{outcomes[name]} {name}" for name in ("passed", "failed", "skipped"))
    return [*(f"skipped {number}: {reason}" for reason, number in reasons.most_common()), totals]


def highest_peak(report: Path, cases: Iterable[Case]) -> list[str]:
    """Return the line that names the test of a report whose process took most memory."""
    highest = max(cases, key=lambda case: case.peak, default=None)
    if highest is None or not highest.peak:
        return []
    return [f"{report.stem}: at most {highest.peak} MiB in a process, by {highest.name}"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the summary and return 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m hack.summary", description=__doc__)
    parser.add_argument("reports", nargs="+", type=Path, help="reports of pytest --junitxml")
    reports = {report: [*read_cases(report)] for report in parser.parse_args(arguments).reports}
    cases = [case for found in reports.values() for case in found]
    peaks = [line for report, found in reports.items() for line in highest_peak(report, found)]
    print("\n".join([*peaks, *summarize(cases)]))
    return int(any(case.outcome == "failed" for case in cases))


if __name__ == "__main__":
    sys.exit(main())
