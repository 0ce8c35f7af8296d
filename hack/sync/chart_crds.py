"""The chart's copies of the custom resource definitions, which are in ``crds/``."""

from __future__ import annotations

from pathlib import Path

SOURCE = Path("crds")
TARGET = Path("charts/notifications/charts/crds/crds")
"""The chart's subchart for the definitions; Helm installs this directory as it is."""


def generate(root: Path) -> dict[Path, str]:
    """Return a copy of every definition, by path relative to the repository."""
    return {
        TARGET / file.name: file.read_text(encoding="utf-8")
        for file in sorted((root / SOURCE).glob("*.yaml"))
    }
