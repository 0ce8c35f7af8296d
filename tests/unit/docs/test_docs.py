"""What the documentation promises is there, and what is there is documented."""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter as Tally
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from notifications_operator.api.email import EmailConfig
from notifications_operator.api.notification import DeliveryState, NotificationState
from notifications_operator.api.processor import ProcessorReason
from notifications_operator.api.reasons import Reason
from notifications_operator.telemetry import metrics

ROOT = Path(__file__).parents[3]

NOT_OURS = frozenset({"build", "dist", "node_modules"})
"""Directories of what was made or fetched; so are those whose names begin with a dot."""


def markdown_files() -> Iterator[Path]:
    """Yield every page of the repository."""
    for directory, inner, files in os.walk(ROOT):
        inner[:] = [name for name in inner if name not in NOT_OURS and not name.startswith(".")]
        yield from (Path(directory, name) for name in files if name.endswith(".md"))


PAGES = sorted(markdown_files())

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what is below a heading, up to the next one of its level."""
    level = heading.partition(" ")[0]
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, heading
    return rest.partition(f"\n{level} ")[0]


def first_cells(text: str) -> list[str]:
    """Return the names in code type that lead the rows of a section's tables."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def without_blocks(text: str) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> Iterator[str]:
    """Yield the anchors of a page's headings as GitHub makes them."""
    seen: Tally[str] = Tally()
    for title in re.findall(r"^#+ (.+)$", without_blocks(text), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        yield f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor
        seen[anchor] += 1


def links(text: str) -> Iterator[str]:
    """Yield where the links and pictures of a page lead, but for those to other hosts."""
    prose = re.sub(r"`[^`\n]+`", "code", without_blocks(text))
    inline = re.findall(r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", prose)
    references = re.findall(r"^ *\[[^\]]+\]: *(\S+)", prose, re.MULTILINE)
    elements = re.findall(r"<[^>]*\b(?:href|src|srcset)=\"([^\"\s]+)", prose)
    for target in (*inline, *references, *elements):
        if not target.startswith(("https://", "http://", "mailto:")):
            yield target


def test_every_reason_is_explained_once() -> None:
    table = section(read("docs/delivery.md"), "## Reasons")

    assert first_cells(table) == [reason.value for reason in Reason]


def test_every_reason_of_a_processor_is_explained_once() -> None:
    table = section(read("docs/delivery.md"), "## Reasons of a processor")

    assert first_cells(table) == [reason.value for reason in ProcessorReason]


def test_every_state_is_explained() -> None:
    text = read("docs/delivery.md")

    deliveries = first_cells(section(text, "## The ledger"))
    assert sorted(deliveries) == sorted(state.value for state in DeliveryState)
    notifications = first_cells(section(text, "## State and conditions"))
    assert {state.value for state in NotificationState} <= set(notifications)


def test_every_metric_is_explained() -> None:
    names = []
    for metric in vars(metrics).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.collect()
            names.append(f"{family.name}_total" if isinstance(metric, Counter) else family.name)
    table = section(read("docs/operations.md"), "## Metrics")

    assert sorted(first_cells(table)) == sorted(names)


def test_every_setting_of_email_is_explained() -> None:
    table = section(read("docs/email.md"), "## Settings")

    for name, field in EmailConfig.model_fields.items():
        assert f"`{field.alias or name}" in table


def test_every_direct_dependency_has_a_reason() -> None:
    project = tomllib.loads(read("pyproject.toml"))

    def names(requirements: list[str]) -> set[str]:
        return {re.split(r"[<>=!~\[; ]", item)[0] for item in requirements}

    text = read("docs/dependencies.md")
    runtime = set(first_cells(section(text, "## Of the operator")))
    development = set(re.findall(r"`([\w-]+)`", section(text, "## Of development and tests")))
    assert runtime == names(project["project"]["dependencies"])
    assert names(project["dependency-groups"]["dev"]) <= development
    (backend,) = names(project["build-system"]["requires"])
    assert f"`{backend}`" in text


@page
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.resolve().is_relative_to(ROOT), f"{target} leads out of the repository"
        assert file.exists(), f"{target} does not exist"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"no heading for {target}"


def test_all_forms_of_links_are_seen() -> None:
    text = """
[a](a.md#x) ![b](b.png "title") [c][c] [far](https://c.example) `[no](code.md)`
<img src="d.png"> <a class="x" href="e.md"> [![f](f.png)](f.md)

[c]: c.md

```markdown
[no](block.md)
# No heading
```

# A heading
## A heading
"""
    assert sorted(links(text)) == ["a.md#x", "b.png", "c.md", "d.png", "e.md", "f.md", "f.png"]
    assert list(anchors(text)) == ["a-heading", "a-heading-1"]


def test_pages_of_all_directories_are_checked() -> None:
    directories = {str(path.parent.relative_to(ROOT)) for path in PAGES}
    assert {".", "docs", "docs/gateway", "charts/notifications"} <= directories


@page
def test_names_no_place_of_the_authors_machines(page: Path) -> None:
    found = re.findall(r"(?<![\w.-])/(?:work|root|home)/\S*", page.read_text(encoding="utf-8"))

    assert found == []


@pytest.mark.parametrize(
    "page",
    # The design also speaks of what is still to come.
    [path for path in PAGES if path != ROOT / "docs" / "design.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_commands_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", read("Makefile"), re.MULTILINE))

    used = re.findall(r"(?:^|`)make ([a-z][a-z0-9-]*)", page.read_text("utf-8"), re.MULTILINE)

    assert set(used) <= targets


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = ROOT / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    assert "exec make test" in script.read_text()
    assert "\nmake test\n" in read("README.md")


def test_licence_is_complete() -> None:
    text = read("LICENSE")

    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
