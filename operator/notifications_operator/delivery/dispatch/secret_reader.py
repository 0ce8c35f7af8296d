"""Reads the Secrets of a processor from the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...api.placeholders import has_placeholder
from ...processors.base import SecretKey
from ...processors.errors import InvalidProcessorConfig, SecretNotFound
from ..ports import Cluster


async def read_secrets(
    cluster: Cluster, namespace: str, keys: Sequence[SecretKey]
) -> tuple[dict[SecretKey, bytes], str]:
    """Return the values of some keys, and the version that they were read at.

    Raises
    ------
    SecretNotFound
        If a Secret or one of its keys is not there; the message names both.
    InvalidProcessorConfig
        If a value has a placeholder that nothing fills in.
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
            noun = "key" if len(wanted) == 1 else "keys"
            raise SecretNotFound(
                f"Secret {namespace}/{name} does not exist; it must have the {noun} {names}"
            )
        for key in wanted:
            if not secret.data.get(key.key):
                there = ", ".join(sorted(secret.data)) or "none"
                raise SecretNotFound(
                    f"Secret {namespace}/{name} has no key {key.key!r} "
                    f"(or it is empty); its keys: {there}"
                )
            values[key] = secret.data[key.key]
            _refuse_placeholder(f"{namespace}/{name}", key, values[key])
        versions.append(secret.resource_version)
    return values, ",".join(versions)


def confidential(secrets: Mapping[SecretKey, bytes]) -> list[str]:
    """Return those values that no text may show."""
    return [value.decode(errors="ignore") for key, value in secrets.items() if key.confidential]


def _refuse_placeholder(secret: str, key: SecretKey, value: bytes) -> None:
    """Refuse what would be sent to the other side as a user name, a password or a token."""
    if has_placeholder(value.decode(errors="ignore")):
        raise InvalidProcessorConfig(
            f"Secret {secret}, key {key.key!r}: it contains a placeholder such as ${{NAME}}, which "
            "nothing fills in; create the Secret with the value itself (envsubst), or name another"
        )
