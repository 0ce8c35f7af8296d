"""Reads the Secrets of a processor."""

from __future__ import annotations

from collections.abc import Sequence

from ..processors.base import SecretKey
from ..processors.errors import SecretNotFound
from .ports import Cluster


async def read_secrets(
    cluster: Cluster, namespace: str, keys: Sequence[SecretKey]
) -> tuple[dict[SecretKey, bytes], str]:
    """Return the values of some keys, and the version that they were read at.

    Raises
    ------
    SecretNotFound
        If a Secret or one of its keys is not there; the message names both.
    KubernetesError
        If the API server cannot be asked.
    """
    values: dict[SecretKey, bytes] = {}
    versions = []
    for name in dict.fromkeys(key.secret for key in keys):
        secret = await cluster.get_secret(namespace, name)
        wanted = [key for key in keys if key.secret == name]
        if secret is None:
            names = ", ".join(key.key for key in wanted)
            raise SecretNotFound(
                f"Secret {namespace}/{name} does not exist; it must have the keys {names}"
            )
        for key in wanted:
            if not secret.data.get(key.key):
                there = ", ".join(sorted(secret.data)) or "none"
                raise SecretNotFound(
                    f"Secret {namespace}/{name} has no key {key.key!r} "
                    f"(or it is empty); its keys: {there}"
                )
            values[key] = secret.data[key.key]
        versions.append(secret.resource_version)
    return values, ",".join(versions)
