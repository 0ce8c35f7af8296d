"""Entity refs: the names under which Backstage's catalog knows everything."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from typing import NamedTuple, Self

from .quoting import quoted

DEFAULT_NAMESPACE = "default"
"""Namespace of entities that do not name one (catalog-model ``DEFAULT_NAMESPACE``)."""

_KIND = "[A-Za-z][A-Za-z0-9]{0,62}"
_NAMESPACE = "[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?"
_NAME = "[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?"

NOTIFICATION_REF_PATTERN = f"^{_KIND}:({_NAMESPACE}/)?{_NAME}$"
"""A ref with its kind, ``kind:[namespace/]name``, as the ``Notification`` CRD demands it.

Anchored and without look-ahead, so that RE2 (the API server) and Python judge alike. The parts are
those of catalog-model's ``KubernetesValidatorFunctions`` in either case, with one difference:
upstream refuses two hyphens in a row in a namespace, which cannot be said together with the length
of 63 in RE2. A namespace here is a DNS label of RFC 1123.
"""

VALID_FORM = "[kind:][namespace/]name, such as user:default/jane.doe"
"""What a ref looks like, as messages say it."""


@dataclass(frozen=True)
class _Part:
    """One of the parts of a ref, and what it may be."""

    label: str
    pattern: re.Pattern[str]
    valid: str

    def fault(self, value: str) -> str:
        if not value:
            return f"the {self.label} is missing"
        return f"the {self.label} {quoted(value)} must be {self.valid}"


_PARTS = (
    _Part("kind", re.compile(_KIND), "a letter and then letters and digits, at most 63"),
    _Part("namespace", re.compile(_NAMESPACE), "letters, digits and inner hyphens, at most 63"),
    _Part(
        "name",
        re.compile(_NAME),
        "letters, digits and inner hyphens, underscores and dots, at most 63",
    ),
)


class InvalidEntityRef(ValueError):
    """A text that is no entity ref.

    Attributes
    ----------
    value
        The text, quoted and shortened for messages.
    reason
        What is wrong with it and what would be valid.
    """

    def __init__(self, text: str, reason: str) -> None:
        self.value = quoted(text)
        self.reason = reason
        super().__init__(f"{self.value} is not an entity ref ({VALID_FORM}): {reason}")


class _Parts(NamedTuple):
    kind: str
    namespace: str
    name: str


class EntityRef(_Parts):
    """The full name of an entity.

    Refs are case-insensitive (catalog-model ``stringifyEntityRef``): the parts are kept in lower
    case, so that equal refs are equal values. They are ordered by kind, namespace and name. A
    tuple and not a dataclass, because resolving is little else than hashing and comparing refs.

    Raises
    ------
    InvalidEntityRef
        If a part does not fit Backstage's grammar.
    """

    __slots__ = ()

    def __new__(cls, kind: str, namespace: str, name: str) -> Self:
        for part, value in zip(_PARTS, (kind, namespace, name), strict=True):
            if part.pattern.fullmatch(value) is None:
                raise InvalidEntityRef(f"{kind}:{namespace}/{name}", part.fault(value))
        return super().__new__(
            cls, sys.intern(kind.lower()), sys.intern(namespace.lower()), name.lower()
        )

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        default_kind: str | None = None,
        default_namespace: str = DEFAULT_NAMESPACE,
    ) -> Self:
        """Read a ref in its text form ``[kind:][namespace/]name``.

        Parameters
        ----------
        text
            The ref, in any case.
        default_kind
            Kind of a ref that does not say it; without it the kind is required.
        default_namespace
            Namespace of a ref that does not say it.

        Raises
        ------
        InvalidEntityRef
            If the text is no ref, or has no kind where one is required.
        """
        kind, colon, rest = text.partition(":")
        if not colon:
            if default_kind is None:
                raise InvalidEntityRef(text, "the kind is missing")
            kind, rest = default_kind, text
        namespace, slash, name = rest.partition("/")
        if not slash:
            namespace, name = default_namespace, rest
        try:
            return cls(kind=kind, namespace=namespace, name=name)
        except InvalidEntityRef as error:
            raise InvalidEntityRef(text, error.reason) from None

    def __str__(self) -> str:
        return f"{self.kind}:{self.namespace}/{self.name}"
