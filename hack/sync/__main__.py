"""Writes the derived files, or checks them."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hack.sync import api_reference, chart_crds, smtp_replies, values

Generator = Callable[[Path], dict[Path, str]]
"""Takes the repository's root and returns contents by path, relative to it."""

GENERATORS: Sequence[tuple[str, Generator]] = (
    ("the chart's copies of the CRDs", chart_crds.generate),
    ("the API reference", api_reference.generate),
    ("the reference of the chart's values", values.generate),
    ("the table of a mail server's answers", smtp_replies.generate),
)
"""All generators, each with what it makes."""

ROOT = Path(__file__).resolve().parents[2]


def stale_files(
    root: Path, generators: Sequence[tuple[str, Generator]]
) -> dict[Path, tuple[str, str]]:
    """Return what the derived files say and should say, for those where it differs.

    A file that is not there says nothing.
    """
    stale = {}
    for _, generate in generators:
        for path, content in generate(root).items():
            file = root / path
            present = file.read_text(encoding="utf-8") if file.exists() else ""
            if present != content:
                stale[path] = (present, content)
    return stale


def write(root: Path, path: Path, content: str) -> None:
    """Write one derived file, making its directories."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")


def show_difference(path: Path, present: str, content: str) -> None:
    """Print what would change in one file, as a unified diff."""
    sys.stdout.writelines(
        difflib.unified_diff(
            present.splitlines(keepends=True),
            content.splitlines(keepends=True),
            fromfile=str(path),
            tofile=f"{path} (generated)",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tool and return its exit code."""
    made = "; ".join(name for name, _ in GENERATORS)
    parser = argparse.ArgumentParser(prog="python -m hack.sync", description=f"Writes: {made}.")
    parser.add_argument(
        "--check",
        action="store_true",
        help="write nothing; show what is stale and exit with 1 if anything is",
    )
    check = parser.parse_args(arguments).check
    stale = stale_files(ROOT, GENERATORS)
    for path, (present, content) in stale.items():
        if check:
            show_difference(path, present, content)
        else:
            write(ROOT, path, content)
            print(f"wrote {path}")
    if check and stale:
        names = ", ".join(str(path) for path in stale)
        print(f"stale: {names}; run: python -m hack.sync", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
