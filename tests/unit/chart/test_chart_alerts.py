"""Alerts and dashboard speak of metrics that exist, and every alert of what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from notifications_operator.telemetry import metrics
from tests.support.helm import CHART
from tests.support.prometheus import dashboard_expressions

ALERTS = [
    rule
    for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((CHART / "files/dashboard.json").read_text())
OPERATIONS = (Path(__file__).parents[3] / "docs/operations.md").read_text()

alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])


def known_series() -> Iterator[str]:
    """Yield the names that Prometheus knows our metrics by."""
    assert metrics.BUILD_INFO
    for family in REGISTRY.collect():
        match family.type:
            case "counter":
                yield f"{family.name}_total"
            case "histogram":
                yield from (f"{family.name}_{part}" for part in ("bucket", "count", "sum"))
            case _:
                yield family.name


def runbook(name: str) -> str:
    _, found, rest = OPERATIONS.partition(f"\n### {name}\n")
    assert found, f"docs/operations.md has no section ### {name}"
    return re.split(r"\n##+ ", rest)[0].strip()


@pytest.mark.parametrize(
    "expression",
    [alert["expr"] for alert in ALERTS] + list(dashboard_expressions(DASHBOARD)),
)
def test_metrics_exist(expression: str) -> None:
    used = set(re.findall(r"\b(?:notifications|process)_\w+", expression))
    assert used and used <= set(known_series())


@alert
def test_alert_says_what_to_do(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"warning", "critical"}
    annotations = alert["annotations"]
    assert annotations["summary"].endswith(".")
    assert len(annotations["description"]) > 100
    assert annotations["runbook"] == f"docs/operations.md#{alert['alert'].lower()}"
    assert len(runbook(alert["alert"])) > 200


@alert
def test_alert_keeps_the_labels_that_its_texts_use(alert: dict[str, Any]) -> None:
    texts = " ".join(alert["annotations"].values())
    for label in re.findall(r"\$labels\.(\w+)", texts):
        assert re.search(rf"by \([^)]*\b{label}\b[^)]*\)", alert["expr"])


def test_runbook_has_no_section_too_many() -> None:
    _, _, rest = OPERATIONS.partition("\n## Alerts\n")
    sections = re.findall(r"^### (\w+)$", re.split(r"\n## ", rest)[0], re.MULTILINE)
    assert sections == [alert["alert"] for alert in ALERTS]


def test_panels_are_told_apart_and_explained() -> None:
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert len({panel["title"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
