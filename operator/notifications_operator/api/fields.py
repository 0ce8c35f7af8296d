"""Types of fields that several resources share; each says what the API server's schema says.

Patterns are written for RE2 (the API server), Rust's ``regex`` (pydantic) and Python's ``re`` at
once: anchored, without look-around, without ``\\d`` and ``\\s`` (which are Unicode classes in some
of them), and matched by `re.fullmatch` here, because Python's ``$`` also matches before a final
line break.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    StringConstraints,
)
from pydantic_core import core_schema

_DNS_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"

OBJECT_NAME_PATTERN = f"^{_DNS_SUBDOMAIN}$"
"""A Kubernetes object's name: a DNS subdomain of RFC 1123."""

PROCESSOR_NAME_PATTERN = f"^({_DNS_LABEL}/)?{_DNS_SUBDOMAIN}$"
"""``name``, or ``namespace/name`` of a processor outside the operator's namespace."""

DATA_KEY_PATTERN = r"^[-._a-zA-Z0-9]+$"
"""A key of a Secret (k8s.io/apimachinery ``IsConfigMapKey``)."""

PRINTABLE_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""Text of one line: no control characters, so nothing that could start another header."""

WORD_PATTERN = r"^[^\x00-\x20\x7f-\x9f]+$"
"""The same without blanks."""

ObjectName = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=OBJECT_NAME_PATTERN)
]
SecretKeyName = Annotated[
    str, StringConstraints(min_length=1, max_length=253, pattern=DATA_KEY_PATTERN)
]
ProcessorName = Annotated[
    str, StringConstraints(min_length=1, max_length=317, pattern=PROCESSOR_NAME_PATTERN)
]


def _refuse_coercion(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise ValueError(f"{str(value)[:64]!r} is no integer")  # noqa: TRY004 - for pydantic
    return value


UNCOERCED = BeforeValidator(_refuse_coercion)
"""Makes an integer what it is to the API server: ``5`` and ``5.0``, never ``"5"`` or ``true``."""

Boolean = Annotated[bool, Field(strict=True)]
"""``true`` or ``false``, never ``"true"`` or ``1``."""


@dataclass(frozen=True)
class Cut:
    """Marks a text of the status that is cut to a number of characters when it is written.

    A message from the other side of a connection must never make a whole status invalid.
    """

    limit: int

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        serializer = PlainSerializer(self._cut, return_type=str, when_used="json")
        return serializer.__get_pydantic_core_schema__(source, handler)

    def _cut(self, text: str) -> str:
        return text[: self.limit]


WORD_LIMIT = 128
"""Longest `Word`, in characters."""

Word = Annotated[str, Cut(WORD_LIMIT)]
"""A reason, digest or other short identifier of the status."""

Line = Annotated[str, Cut(512)]
"""A name of the status: who, from where, held by whom."""

Message = Annotated[str, Cut(1024)]
"""A sentence of the status for people."""
