"""The last lines of `make test`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hack import summary

REPORT = """<?xml version="1.0"?>
<testsuites><testsuite>
<testcase classname="a" name="passes"/>
<testcase classname="a" name="passes too"/>
<testcase classname="a" name="skips"><skipped message="no pods: not root"/></testcase>
<testcase classname="b" name="skips"><skipped message="no pods: not root"/></testcase>
<testcase classname="b" name="skips as well"><skipped message="no smtp-source"/></testcase>
{more}
</testsuite></testsuites>
"""


def test_counts_and_says_why_something_was_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [tmp_path / "unit.xml", tmp_path / "e2e.xml"]
    for report in reports:
        report.write_text(REPORT.format(more=""))

    assert summary.main([str(report) for report in reports]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "skipped 4: no pods: not root",
        "skipped 2: no smtp-source",
        "4 passed, 0 failed, 6 skipped",
    ]


def test_names_the_test_that_took_most_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peaks = "".join(
        f'<testcase classname="m" name="{name}"><properties>'
        f'<property name="peak_mib" value="{peak}"/></properties></testcase>'
        for name, peak in (("small", 90), ("large", 300))
    )
    report = tmp_path / "unit.xml"
    report.write_text(REPORT.format(more=peaks))

    assert summary.main([str(report)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "unit: at most 300 MiB in a process, by m::large"
    )


@pytest.mark.parametrize("how", ["failure", "error"])
def test_failures_and_errors_fail(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "unit.xml"
    case = f'<testcase classname="c" name="breaks"><{how} message="x"/></testcase>'
    report.write_text(REPORT.format(more=case))

    assert summary.main([str(report)]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 1 failed, 3 skipped"


def test_report_is_what_pytest_writes(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(
        "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('because')\n"
    )
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True)

    cases = list(summary.read_cases(tmp_path / "report.xml"))

    assert [(case.outcome, case.reason) for case in cases] == [
        ("passed", ""),
        ("skipped", "because"),
    ]
