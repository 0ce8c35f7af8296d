"""The OpenAPI 3.1 document: what all operations share, and those of sending."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from ...api.notification import LINK_PATTERN, REF_PATTERN, Severity
from ..sending.names import LONGEST_KEY

BEARER = "bearer"
"""The security scheme's name in the document."""

_REF: dict[str, Any] = {
    "type": "string",
    "pattern": REF_PATTERN,
    "maxLength": 256,
    "examples": ["user:default/ada", "group:platform"],
}
_REFS: dict[str, Any] = {"anyOf": [_REF, {"type": "array", "items": _REF, "maxItems": 1000}]}


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


_PAYLOAD: dict[str, Any] = {
    "type": "object",
    "required": ["title"],
    "properties": {
        "title": {**_text(255), "minLength": 1},
        "description": _text(32768),
        "link": {
            **_text(2048),
            "pattern": LINK_PATTERN,
            "description": "An http:// or https:// URL with a host, or a path under app.baseUrl.",
        },
        "severity": {"type": "string", "enum": [*Severity], "default": Severity.NORMAL},
        "topic": _text(255),
        "scope": _text(255),
        "icon": _text(255),
        "metadata": {"type": "object", "maxProperties": 256, "description": "At most 64 KiB."},
    },
}

SCHEMAS: dict[str, Any] = {
    "NotificationRecipients": {
        "oneOf": [
            {
                "type": "object",
                "required": ["type", "entityRef"],
                "properties": {
                    "type": {"const": "entity"},
                    "entityRef": _REFS,
                    "excludeEntityRef": _REFS,
                    "entityRefs": False,
                    "excludeEntityRefs": False,
                },
            },
            {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"const": "broadcast"},
                    "entityRef": False,
                    "excludeEntityRef": False,
                    "entityRefs": False,
                    "excludeEntityRefs": False,
                },
            },
        ]
    },
    "NotificationPayload": _PAYLOAD,
    "CreateNotificationRequest": {
        "type": "object",
        "required": ["recipients", "payload"],
        "properties": {
            "recipients": {"$ref": "#/components/schemas/NotificationRecipients"},
            "payload": {"$ref": "#/components/schemas/NotificationPayload"},
        },
    },
    "Notification": {
        "type": "object",
        "required": ["id", "user", "created", "origin", "payload"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "user": {"type": ["string", "null"]},
            "created": {"type": "string", "format": "date-time"},
            "updated": {"type": ["string", "null"], "format": "date-time"},
            "read": {"type": ["string", "null"], "format": "date-time"},
            "saved": {"type": ["string", "null"], "format": "date-time"},
            "origin": {"type": "string"},
            "payload": {
                "type": "object",
                "required": ["title", "severity"],
                "properties": {
                    "title": {"type": "string"},
                    "severity": {"type": "string", "enum": [*Severity]},
                    **{
                        name: {"type": ["string", "null"]}
                        for name in ("description", "link", "topic", "scope", "icon")
                    },
                    "metadata": {"type": ["object", "null"]},
                },
            },
        },
    },
    "Error": {
        "type": "object",
        "required": ["error", "request", "response"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["name", "message"],
                "properties": {"name": {"type": "string"}, "message": {"type": "string"}},
            },
            "request": {
                "type": "object",
                "properties": {"method": {"type": "string"}, "url": {"type": "string"}},
            },
            "response": {
                "type": "object",
                "required": ["statusCode"],
                "properties": {"statusCode": {"type": "integer"}},
            },
        },
    },
}


def errors(*statuses: int) -> dict[str, Any]:
    """Return the ``responses`` of an operation for errors."""
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


_ERRORS: Mapping[int, str] = {
    400: "The request is not as it must be.",
    401: "It is not known who asks.",
    403: "Whoever asks may not do this.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The Idempotency-Key belongs to another request.",
    429: "Too many requests, failures to authenticate, or unfinished notifications.",
    503: "Something that the gateway needs is away.",
}
_RETRIED = (429, 503)

SEND: dict[str, Any] = {
    "summary": "Send a notification",
    "description": (
        "For services. The answer is 200 once the notification is stored in the cluster; it holds "
        "the rows of the inbox that are there within a second, or are sure to come."
    ),
    "security": [{BEARER: []}],
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": (
                "The same request with the same key is delivered once. Keys are known until 24 "
                "hours after the notification has finished."
            ),
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": LONGEST_KEY,
                "pattern": "^[!-~]+$",
            },
        },
        {
            "name": "Prefer",
            "in": "header",
            "description": "respond-async: do not wait for the rows (RFC 7240).",
            "schema": {"type": "string"},
        },
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/CreateNotificationRequest"}
            }
        },
    },
    "responses": {
        "200": {
            "description": "It is stored; the rows.",
            "headers": {
                "Notification-Resource": {
                    "description": "The Notification in the cluster: <namespace>/<name>.",
                    "schema": {"type": "string"},
                }
            },
            "content": {
                "application/json": {
                    "schema": {
                        "type": "array",
                        "items": {"$ref": "#/components/schemas/Notification"},
                    }
                }
            },
        },
        **errors(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
}


def complete_document(application: FastAPI) -> None:
    """Let an application's OpenAPI document have what its operations refer to."""
    generate = application.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        for operations in document["paths"].values():
            for operation in operations.values():
                _complete_operation(operation)
        components.setdefault("schemas", {}).update(SCHEMAS)
        for unused in ("HTTPValidationError", "ValidationError"):
            components["schemas"].pop(unused, None)
        components["responses"] = {
            str(status): _response(status, text) for status, text in _ERRORS.items()
        }
        components["securitySchemes"] = {BEARER: {"type": "http", "scheme": "bearer"}}
        return document

    application.openapi = openapi  # type: ignore[method-assign]


def _complete_operation(operation: dict[str, Any]) -> None:
    """Say who may do it and what else may come of it; the framework's 422 is our 400."""
    if "security" in operation:
        return
    operation["security"] = [{BEARER: []}]
    operation["responses"].pop("422", None)
    operation["responses"].update(errors(400, 401, 403, 404, 429, 503))
    if "requestBody" in operation:
        operation["responses"].update(errors(408, 413, 415))


def _response(status: int, text: str) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": text,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    if status in _RETRIED:
        response["headers"] = {
            "Retry-After": {"description": "In seconds.", "schema": {"type": "integer"}}
        }
    return response
