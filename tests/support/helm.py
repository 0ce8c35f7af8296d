"""Runs the pinned Helm as users do: a process, values on its standard input."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[2] / "charts" / "notifications"

SEED_VALUES: Final[dict[str, Any]] = {
    "notifications": {
        "processors": {
            "email": {
                "transportConfig": {
                    "transport": "smtp",
                    "hostname": "my-smtp-server",
                    "port": 587,
                    "secure": False,
                    "username": "my-username",
                    "password": "my-password",
                },
                "sender": "sender@mycompany.com",
                "replyTo": "no-reply@mycompany.com",
                "broadcastConfig": {"receiver": "users"},
                "concurrencyLimit": 10,
                "cache": {"ttl": {"days": 1}},
            }
        }
    }
}
"""A Backstage app-config's ``notifications``, which must work as it is."""

Document = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is what the user sees."""


@dataclass(frozen=True, kw_only=True)
class Helm:
    """One Helm, with a home of its own.

    Attributes
    ----------
    program
        The pinned Helm.
    home
        Directory for its caches and settings.
    kubeconfig
        The cluster it works on; None for rendering only.
    """

    program: Path
    home: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str, values: Document | None = None) -> str:
        """Run one command and return its output.

        Parameters
        ----------
        arguments
            The command line.
        values
            Given to the command as a values file.

        Raises
        ------
        HelmError
            If it fails.
        """
        command = [str(self.program), *arguments]
        if values is not None:
            command += ["--values", "-"]
        result = subprocess.run(
            command,
            # JSON: PyYAML writes the string -1e3 without quotes, which is a number to Helm.
            input=None if values is None else json.dumps(values),
            stdin=subprocess.DEVNULL if values is None else None,
            capture_output=True,
            text=True,
            env=self._environment(),
            timeout=300,
            check=False,
        )
        if result.returncode != 0:
            raise HelmError(result.stderr)
        return result.stdout

    def template(
        self,
        *arguments: str,
        values: Document | None = None,
        release: str = "notifications",
        namespace: str = "notifications-system",
    ) -> str:
        """Return the manifest that the chart renders to, without asking a cluster."""
        return self.run(
            "template", release, str(CHART), "--namespace", namespace, *arguments, values=values
        )

    def _environment(self) -> dict[str, str]:
        # Whatever this machine's user has set up for Helm is not part of the test.
        kubeconfig = self.kubeconfig or self.home / "no-kubeconfig"
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "HELM_CACHE_HOME": str(self.home / "cache"),
            "HELM_CONFIG_HOME": str(self.home / "config"),
            "HELM_DATA_HOME": str(self.home / "data"),
            "KUBECONFIG": str(kubeconfig),
        }


def documents(manifest: str) -> list[Document]:
    """Return the objects of a manifest."""
    return [document for document in yaml.safe_load_all(manifest) if document]


def find(rendered: list[Document], kind: str, name: str | None = None) -> Document:
    """Return the one object of a kind (and name)."""
    found = [
        document
        for document in rendered
        if document["kind"] == kind and name in (None, document["metadata"]["name"])
    ]
    assert len(found) == 1, f"{len(found)} of kind {kind}, name {name}"
    return found[0]
