"""The body of ``POST /notifications``, as upstream takes it and as the API server will.

Upstream's ``NotificationSendOptions`` (``openapi.yaml`` of ``plugin-notifications-backend``), with
its tolerance: properties that nobody knows are left out. What is accepted here fits the custom
resource definition, because the models of it judge.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from ...api.messages import describe_validation_error
from ...api.notification import LINK_PATTERN, Payload, Recipients
from ...catalog import EntityRef, InvalidEntityRef
from ..errors import InputError

METADATA_LIMIT = 64 * 1024
"""Most bytes of ``payload.metadata`` as JSON; the operator would end more as ``TooLarge``."""

_TEXTS = ("title", "description", "link", "severity", "topic", "scope", "icon")
_UNSET_IF_EMPTY = ("link", "scope")
_LINK = re.compile(LINK_PATTERN)
_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class SendRequest:
    """What shall be said to whom.

    Attributes
    ----------
    recipients
        ``None`` if the list of entity refs is empty, which upstream takes for nobody.
    payload
        What the models made of ``payload_fields``.
    payload_fields
        The known fields that were given, as they were given.
    """

    recipients: Recipients | None
    payload: Payload
    payload_fields: Mapping[str, Any]


def parse_request(body: object) -> SendRequest:
    """Read a request.

    Raises
    ------
    InputError
        If it is not as it must be; names the field, the value and what is valid.
    """
    if not isinstance(body, dict):
        raise InputError("body: must be an object with recipients and payload")
    recipients = _recipients(_object(body, "recipients"))
    fields = _payload_fields(_object(body, "payload"))
    try:
        payload = Payload.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"payload.{describe_validation_error(error)}") from None
    return SendRequest(recipients=recipients, payload=payload, payload_fields=fields)


def _object(body: Mapping[str, object], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        problem = f"must be an object, not {_shown(value)}" if name in body else "is required"
        raise InputError(f"{name}: {problem}")
    return value


def _recipients(given: Mapping[str, Any]) -> Recipients | None:
    for plural in ("entityRefs", "excludeEntityRefs"):
        if plural in given:
            field = plural.removesuffix("s")
            raise InputError(f"recipients.{plural}: here a list of entity refs goes into {field}")
    kind = given.get("type")
    if kind not in ("entity", "broadcast"):
        raise InputError(f"recipients.type: must be entity or broadcast, not {_shown(kind)}")
    included, excluded = _refs(given, "entityRef"), _refs(given, "excludeEntityRef")
    if kind == "broadcast":
        if included or excluded:
            raise InputError(
                "recipients: type broadcast takes no entityRef or excludeEntityRef; remove them, "
                "or use type entity"
            )
    elif included is None:
        raise InputError(
            "recipients.entityRef: is required with type entity, such as user:default/ada"
        )
    elif not included:
        return None
    fields: dict[str, Any] = {"type": kind}
    for name, refs in (("entityRef", included), ("excludeEntityRef", excluded)):
        if refs is not None and len(refs) == 1:
            fields[name] = refs[0]
        elif refs:
            fields[f"{name}s"] = refs
    try:
        return Recipients.model_validate(fields)
    except ValidationError as error:
        raise InputError(f"recipients.{describe_validation_error(error)}") from None


def _refs(given: Mapping[str, Any], name: str) -> list[str] | None:
    """Return the refs of a field that takes one or a list of them; ``None`` if it is not there."""
    if name not in given:
        return None
    value = given[name]
    refs = [value] if isinstance(value, str) else value
    if not isinstance(refs, list):
        raise InputError(
            f"recipients.{name}: must be an entity ref or a list of them, not {_shown(value)}"
        )
    for ref in refs:
        if not isinstance(ref, str):
            raise InputError(f"recipients.{name}: must hold entity refs, not {_shown(ref)}")
        try:
            EntityRef.parse(ref)
        except InvalidEntityRef as error:
            raise InputError(f"recipients.{name}: {error}") from None
    return refs


def _payload_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: given[name] for name in (*_TEXTS, "metadata") if name in given}
    for name, value in fields.items():
        if name == "metadata":
            _check_metadata(value)
        elif not isinstance(value, str):
            raise InputError(f"payload.{name}: must be a string, not {_shown(value)}")
    if not fields.get("title"):
        raise InputError("Invalid notification request received: missing title (payload.title)")
    for name in _UNSET_IF_EMPTY:
        if fields.get(name) == "":
            # Upstream asks whether they are truthy.
            del fields[name]
    if "link" in fields:
        _check_link(fields["link"])
    return fields


def _check_metadata(value: object) -> None:
    if not isinstance(value, dict):
        raise InputError(f"payload.metadata: must be an object, not {_shown(value)}")
    size = len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())
    if size > METADATA_LIMIT:
        raise InputError(f"payload.metadata: has {size} bytes; at most {METADATA_LIMIT}")


def _check_link(link: str) -> None:
    if _LINK.fullmatch(link) is None or not _has_usable_host(link):
        raise InputError(
            f"Invalid link provided (payload.link): must be an http:// or https:// URL with a host "
            f"and without user name or password, or a path under app.baseUrl such as /catalog, not "
            f"{_shown(link)}"
        )


def _has_usable_host(link: str) -> bool:
    """Tell whether a browser would take a URL's host and port; a path has none."""
    if not link[:8].lower().startswith(("http://", "https://")):
        return True
    try:
        parts = urlsplit(link)
        if parts.netloc.startswith("["):
            ipaddress.IPv6Address(parts.hostname or "")
        port = parts.port
    except ValueError:
        return False
    return port is None or port <= 65535


def _shown(value: object) -> str:
    """Return a value as a message may show it: as JSON in ASCII, and not long."""
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
