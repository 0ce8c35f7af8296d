"""A real Prometheus scrapes the operator, loads the chart's alerts and answers its dashboard."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.helm import CHART
from tests.support.installation import AddProcessor, Installation
from tests.support.kubernetes import Kubernetes, complete, notification
from tests.support.prometheus import Prometheus, QueryError, dashboard_expressions, promtool

pytestmark = pytest.mark.cluster

ALERTS = CHART / "files" / "alerts.yaml"
DASHBOARD = json.loads((CHART / "files" / "dashboard.json").read_text())
ALWAYS_THERE = {
    "notifications_build_info",
    "notifications_ready_check",
    "notifications_unfinished",
    "notifications_oldest_unfinished_seconds",
    "notifications_finished_total",
    "notifications_deliveries_total",
    "notifications_attempts_total",
    "notifications_created_to_finished_seconds_bucket",
    "notifications_created_to_sent_seconds_bucket",
    "notifications_send_seconds_bucket",
    "notifications_processor_waiting",
    "notifications_processor_ready",
    "notifications_processor_suspended",
    "notifications_processor_breaker_open",
    "notifications_processor_window",
    "notifications_processor_claimed",
    "notifications_processor_throttled_seconds_total",
    "notifications_kubernetes_requests_total",
    "notifications_catalog_entities",
    "notifications_catalog_users",
    "notifications_catalog_built_timestamp_seconds",
    "notifications_catalog_problems",
    "notifications_catalog_unreadable_namespaces",
    "notifications_resyncs_total",
    "notifications_watch_missed_total",
}
"""What Prometheus has after one delivery."""


@pytest.fixture(scope="module")
def prometheus(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    prometheus = Prometheus.start(
        tmp_path_factory.mktemp("prometheus"),
        target=f"127.0.0.1:{installation.port}",
        rules=ALERTS,
    )
    yield prometheus
    prometheus.stop()


@pytest.fixture
async def delivered(kubernetes: Kubernetes, namespace: str, title: str) -> None:
    """One Notification that was delivered to one user and not to another."""
    refs = ("user:default/ada", "user:default/silent")
    await kubernetes.create(notification("counted", namespace, *refs, title=title))
    await kubernetes.wait("Notification", "counted", namespace, complete)


def test_alerts_are_rules() -> None:
    result = promtool("check", "rules", str(ALERTS))
    assert result.returncode == 0, result.stdout + result.stderr


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    rules = yaml.safe_load(ALERTS.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        # promtool compares the texts too, and they may be reworded without being wrong.
        del rule["annotations"]
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rules))
    tests = Path(__file__).parent / "data" / "alerts.test.yaml"
    shutil.copy(tests, tmp_path)
    result = promtool("test", "rules", str(tmp_path / tests.name))
    assert result.returncode == 0, result.stdout + result.stderr


def test_texts_of_alerts_can_be_filled_in(tmp_path: Path) -> None:
    """promtool shows the texts that it did not expect."""
    shutil.copy(ALERTS, tmp_path)
    tests = Path(__file__).parent / "data" / "alerts.test.yaml"
    shutil.copy(tests, tmp_path)
    result = promtool("test", "rules", str(tmp_path / tests.name))
    shown = result.stdout + result.stderr
    assert "error expanding" not in shown
    assert "The processor email cannot send." in shown
    assert "unfinished for 1h 12m 0s" in shown
    assert "25% of the operator's requests" in shown
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    for rule in rules:
        assert f"#{rule['alert'].lower()}" in shown


def test_every_alert_is_tested_both_ways() -> None:
    tests = yaml.safe_load((Path(__file__).parent / "data" / "alerts.test.yaml").read_text())
    cases = [case for test in tests["tests"] for case in test["alert_rule_test"]]
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    names = {rule["alert"] for rule in rules}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names


async def test_series_appear(
    delivered: None, prometheus: Prometheus, installation: Installation
) -> None:
    prometheus.wait_for('notifications_deliveries_total{processor="email",state="Sent"} > 0')
    found = {labels["__name__"] for labels, _ in prometheus.query('{__name__=~"notifications_.+"}')}
    assert found >= ALWAYS_THERE
    ((labels, value),) = prometheus.query("notifications_build_info")
    assert value == 1 and labels["version"]
    checks = {labels["check"] for labels, _ in prometheus.query("notifications_ready_check == 1")}
    assert checks >= {"api-server", "catalog", "definitions", "watch"}
    users = prometheus.query("notifications_catalog_users")[0][1]
    assert users > 3
    written = prometheus.query(
        'notifications_kubernetes_requests_total{method="PATCH",'
        'resource="notifications/status",code="200"}'
    )
    assert written[0][1] >= 1
    (sent,) = prometheus.query('notifications_created_to_sent_seconds_count{processor="email"}')
    assert sent[1] >= 1


async def test_labels_never_name_recipients(delivered: None, prometheus: Prometheus) -> None:
    prometheus.wait_for('notifications_deliveries_total{state="Sent"} > 0')
    samples = prometheus.query('{__name__=~"notifications_.+"}')
    values = {value for labels, _ in samples for value in labels.values()}
    assert not [value for value in values if "user:" in value or "@" in value]


@pytest.mark.parametrize("expression", [*dashboard_expressions(DASHBOARD)])
async def test_dashboard_queries_answer(
    expression: str, delivered: None, prometheus: Prometheus
) -> None:
    prometheus.wait_for('notifications_deliveries_total{state="Sent"} > 0')
    # A rate needs two scrapes; what has not happened in this installation has no series.
    rare = ("breaker_trips", 'state!="Sent"')
    if any(part in expression for part in rare):
        prometheus.query(expression)
    else:
        prometheus.wait_for(expression)


def test_a_wrong_query_is_told_apart(prometheus: Prometheus) -> None:
    with pytest.raises(QueryError, match="parse error"):
        prometheus.query("sum by (")


async def test_rules_are_loaded_and_a_broken_processor_raises_its_alert(
    prometheus: Prometheus, add_processor: AddProcessor
) -> None:
    loaded = prometheus.alerts()
    names = {rule["alert"] for rule in yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]}
    assert set(loaded) == names
    name = await add_processor(
        {"transport": "smtp", "hostname": "127.0.0.1", "port": 1, "secure": False}, ready=False
    )
    labels = f'alertname="NotificationProcessorNotReady",processor="{name}",alertstate="pending"'
    prometheus.wait_for(f"ALERTS{{{labels}}}")
    prometheus.wait_for(f'notifications_processor_breaker_trips_total{{processor="{name}"}} > 0')
    prometheus.wait_for(f'notifications_processor_breaker_open{{processor="{name}"}} == 1')
    for rule in prometheus.alerts().values():
        assert rule["health"] == "ok", rule
