"""Entities and ConfigMaps for tests of the catalog."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from notifications_operator.catalog import (
    Directory,
    EntityRef,
    ParsedSource,
    Resolution,
    Source,
    parse_source,
    resolve,
)


def ref(text: str) -> EntityRef:
    return EntityRef.parse(text)


def entity(kind: str, name: str, *, relations: object = None, **spec: object) -> dict[str, Any]:
    document: dict[str, Any] = {
        "apiVersion": "backstage.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    if relations is not None:
        document["relations"] = relations
    return document


def user(name: str, *groups: str, **spec: object) -> dict[str, Any]:
    return entity("User", name, memberOf=list(groups), **spec)


def group(name: str, *members: str, **spec: object) -> dict[str, Any]:
    return entity("Group", name, members=list(members), **spec)


def stream(documents: Sequence[object]) -> str:
    return "\n---\n".join(json.dumps(document) for document in documents)


def config_map(
    data: Mapping[str, str] | None = None,
    *,
    name: str = "catalog",
    version: int = 1,
    binary: Mapping[str, bytes] | None = None,
) -> Source:
    return Source(
        namespace="notifications",
        name=name,
        uid=f"uid-of-{name}",
        resource_version=str(version),
        data=data or {},
        binary_data={
            key: base64.b64encode(value).decode() for key, value in (binary or {}).items()
        },
    )


def parse(text: str, **kwargs: Any) -> ParsedSource:
    """Parse a ConfigMap with a single key, `catalog.yaml`."""
    return parse_source(config_map({"catalog.yaml": text}, **kwargs))


def names(parsed: ParsedSource) -> list[str]:
    """The refs of all entities, in their order."""
    return [str(entity.ref) for entities in parsed.entities.values() for entity in entities]


def messages(parsed: ParsedSource) -> list[str]:
    return [str(problem) for problem in parsed.problems]


def directory(*documents: object) -> Directory:
    """A directory of entities without any problem."""
    parsed = parse(stream(documents))
    assert not parsed.problems, messages(parsed)
    return Directory.build([parsed])


def users(resolution: Resolution) -> list[str]:
    return [entity.ref.name for entity in resolution.users]


def resolved(catalog: Directory, refs: Sequence[str], exclude: Sequence[str] = ()) -> Resolution:
    return resolve(catalog, refs=[ref(r) for r in refs], exclude=[ref(r) for r in exclude])


def gzipped(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)
