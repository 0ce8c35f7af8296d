"""Documents that the API server and the models must judge alike.

They are in ``tests/e2e/data/conformance``, one file per group: a ``kind`` and its ``cases``, each
with a ``name``, a ``spec`` and a ``verdict`` (``accepted`` or ``refused``). A refused one has the
``message`` that the user sees: a fragment of it, or a list of fragments. Where the models judge
otherwise, ``model`` says how and ``because`` why. ``hides`` is a secret that no message may repeat.

Two tags keep big documents short: ``!repeat [text, count]`` and ``!times [item, count]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from notifications_operator.api.resource import API_VERSION

DIRECTORY = Path(__file__).resolve().parents[1] / "e2e" / "data" / "conformance"

PLURALS = {"Notification": "notifications", "NotificationProcessor": "notificationprocessors"}


class ManifestLoader(yaml.SafeLoader):
    """Reads YAML as kubectl does where PyYAML differs: moments stay texts."""


ManifestLoader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One document and what is expected of it."""

    group: str
    name: str
    kind: str
    spec: Any
    accepted: bool
    messages: Sequence[str]
    model_accepts: bool
    because: str | None
    hides: str | None

    @property
    def id(self) -> str:
        """How test reports name it."""
        return f"{self.group}: {self.name}"

    @property
    def plural(self) -> str:
        """The resource's name in URLs."""
        return PLURALS[self.kind]

    @property
    def manifest(self) -> dict[str, Any]:
        """The whole document."""
        return {
            "apiVersion": API_VERSION,
            "kind": self.kind,
            "metadata": {"name": "conformance", "namespace": "default"},
            "spec": self.spec,
        }


def load_cases() -> list[Case]:
    """Read the table."""
    return [case for file in sorted(DIRECTORY.glob("*.yaml")) for case in _load_file(file)]


def _load_file(file: Path) -> list[Case]:
    document = yaml.load(file.read_text(encoding="utf-8"), Loader=ManifestLoader)
    return [_read_case(file.stem, document["kind"], entry) for entry in document["cases"]]


def _read_case(group: str, kind: str, entry: dict[str, Any]) -> Case:
    unknown = entry.keys() - {"name", "spec", "verdict", "message", "model", "because", "hides"}
    if unknown or ("model" in entry) != ("because" in entry):
        raise ValueError(f"{group}: {entry['name']}: unknown or missing keys: {sorted(unknown)}")
    accepted = _accepted(entry["verdict"])
    message = entry.get("message", [])
    return Case(
        group=group,
        name=entry["name"],
        kind=kind,
        spec=entry["spec"],
        accepted=accepted,
        messages=[message] if isinstance(message, str) else message,
        model_accepts=_accepted(entry.get("model", entry["verdict"])),
        because=entry.get("because"),
        hides=entry.get("hides"),
    )


def _accepted(verdict: str) -> bool:
    return {"accepted": True, "refused": False}[verdict]


def _repeat(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    text, count = _pair(loader, node)
    return str(text) * int(count)


def _times(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    item, count = _pair(loader, node)
    return [item] * int(count)


def _pair(loader: yaml.SafeLoader, node: yaml.Node) -> list[Any]:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "expected a list", node.start_mark)
    return loader.construct_sequence(node, deep=True)


ManifestLoader.add_constructor("!repeat", _repeat)
ManifestLoader.add_constructor("!times", _times)
