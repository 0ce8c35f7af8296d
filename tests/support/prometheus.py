"""A real Prometheus: Debian's, unpacked into the cache, as a process that scrapes the operator."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from hack.cluster import debian
from tests.support.installation import free_port

Sample = tuple[dict[str, str], float]

_VARIABLES = {
    "$__rate_interval": "1m",
    "$namespace": ".*",
    "$processor": ".*",
}
"""What Grafana puts in; one minute holds some of the scrapes of a test."""


def program(name: str) -> Path:
    """Return ``prometheus`` or ``promtool``: the machine's own, or else Debian's."""
    found = shutil.which(name)
    return Path(found) if found else debian.unpacked("prometheus") / "usr" / "bin" / name


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool and return what it said."""
    return subprocess.run(
        [str(program("promtool")), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def dashboard_expressions(dashboard: Mapping[str, Any]) -> Iterator[str]:
    """Yield the queries of a Grafana dashboard with its variables filled in: all, everywhere."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            left = re.findall(r"\$\w+", expression)
            assert not left, f"unknown variables {left} in {target['expr']}"
            yield expression


class QueryError(Exception):
    """Prometheus refused a query; the message says why."""


@dataclass(kw_only=True)
class Prometheus:
    """One running Prometheus; `stop` ends it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @classmethod
    def start(cls, directory: Path, *, target: str, rules: Path) -> Self:
        """Start one that scrapes a target and evaluates rules every second.

        Parameters
        ----------
        directory
            For its configuration, data and log.
        target
            ``host:port`` of a server with ``/metrics``.
        rules
            A file of rules.
        """
        scrape = {
            "job_name": "notifications",
            "static_configs": [{"targets": [target], "labels": {"namespace": "operators"}}],
        }
        settings = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules.resolve())],
            "scrape_configs": [scrape],
        }
        config = directory / "prometheus.yaml"
        config.write_text(yaml.safe_dump(settings))
        port, log = free_port(), directory / "prometheus.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    str(program("prometheus")),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        prometheus = cls(process=process, port=port, log=log)
        try:
            prometheus._wait_ready()
        except BaseException:
            prometheus.stop()
            raise
        return prometheus

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def query(self, expression: str) -> list[Sample]:
        """Evaluate an expression now; returns labels and value of each series."""
        data = self._get(f"query?{urllib.parse.urlencode({'query': expression})}")
        if data["resultType"] == "scalar":
            return [({}, float(data["result"][1]))]
        return [(item["metric"], float(item["value"][1])) for item in data["result"]]

    def wait_for(self, expression: str, *, seconds: float = 60) -> list[Sample]:
        """Wait until an expression gives something and return it."""
        end = time.monotonic() + seconds
        while not (found := self.query(expression)):
            assert time.monotonic() < end, f"nothing for {expression}"
            time.sleep(0.2)
        return found

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Return the alerting rules as they are loaded, by name."""
        groups = self._get("rules?type=alert")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def _wait_ready(self) -> None:
        end = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.log.read_text(errors="replace")[-4000:]
            assert time.monotonic() < end, "Prometheus does not become ready"
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready"):
                    return
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)

    def _get(self, path: str) -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}") as answer:
                data: dict[str, Any] = json.load(answer)["data"]
                return data
        except urllib.error.HTTPError as error:
            with error:
                raise QueryError(error.read().decode(errors="replace")) from error
