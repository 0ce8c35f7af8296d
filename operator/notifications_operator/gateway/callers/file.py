"""The file that names the callers, in the shape of Backstage's ``backend.auth.externalAccess``."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic.alias_generators import to_camel

from ...api.fields import WORD_PATTERN
from ...api.placeholders import has_placeholder
from ..principals import ServicePrincipal

SHORTEST_TOKEN = 32
"""Fewest characters of a token: no guessing reaches it."""

RESERVED_SUBJECTS = ("namespace:", "plugin:")
"""What subjects must not begin with: origins of this shape are given by the gateway itself."""

PLUGIN = "notifications"
"""Our plugin's id in ``accessRestrictions``."""

_LABEL = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"


class CallersError(Exception):
    """The file is not as it must be; the message names no token."""


class _Model(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_placeholders(cls, value: Any) -> Any:
        if isinstance(value, str) and has_placeholder(value):
            raise ValueError(
                "nothing fills in a placeholder such as ${NAME} here; create the Secret with the "
                "value itself (envsubst)"
            )
        return value


class _Options(_Model):
    token: SecretStr
    subject: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=WORD_PATTERN)]
    namespace: Annotated[str, StringConstraints(max_length=63, pattern=_LABEL)] | None = None
    broadcast: Annotated[bool, Field(strict=True)] = False
    max_recipients: Annotated[int, Field(ge=1, strict=True)] | None = None
    rate: Annotated[int, Field(ge=1, strict=True)] | None = None

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        if len(text) < SHORTEST_TOKEN:
            raise ValueError(f"must have at least {SHORTEST_TOKEN} characters, not {len(text)}")
        if not all("!" <= character <= "~" for character in text):
            raise ValueError("must be of visible ASCII characters, without blanks")
        return token

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, subject: str) -> str:
        if subject.startswith(RESERVED_SUBJECTS):
            raise ValueError(f"must not begin with {' or '.join(RESERVED_SUBJECTS)}")
        return subject


class _Restriction(_Model):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    plugin: str


class _Entry(_Model):
    type: Literal["static"]
    options: _Options
    access_restrictions: Annotated[list[_Restriction], Field(min_length=1)] | None = None


_ENTRIES = TypeAdapter(list[_Entry])


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller, and which of Backstage's plugins its token is restricted to, if to any."""

    principal: ServicePrincipal
    restricted_to: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Callers:
    """All callers by the digests of their tokens, and the tokens that logs must not show."""

    by_digest: Mapping[bytes, Caller]
    tokens: tuple[str, ...]


def token_digest(token: str) -> bytes:
    """Return under what a token is looked up.

    The lookup need not take the same time for all: it compares digests, of which an attacker cannot
    choose any part, so that the time it takes says nothing about a token.
    """
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def read_callers(text: str, *, namespace: str) -> Callers:
    """Read the file.

    Parameters
    ----------
    namespace
        Where those send that name none.

    Raises
    ------
    CallersError
        If it is not YAML, or an entry is not as it must be.
    """
    entries = _entries(_load(text))
    by_digest: dict[bytes, Caller] = {}
    for position, entry in enumerate(entries):
        digest = token_digest(entry.options.token.get_secret_value())
        if digest in by_digest:
            raise CallersError(f"[{position}].options.token: another entry has the same token")
        by_digest[digest] = _caller(entry, namespace)
    return Callers(
        by_digest=by_digest,
        tokens=tuple(entry.options.token.get_secret_value() for entry in entries),
    )


_UNREADABLE = (
    yaml.YAMLError,
    RecursionError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
)
"""What PyYAML raises, also for values that are none of the type their tag says."""


def _load(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        # What it says itself may quote a token.
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise CallersError(f"it is not YAML{line}") from None
    except _UNREADABLE as error:
        raise CallersError(f"it is not YAML ({type(error).__name__})") from None


def _entries(content: Any) -> list[_Entry]:
    if not isinstance(content, list):
        raise CallersError("it must be a list of {type: static, options: {token, subject}}")
    try:
        return _ENTRIES.validate_python(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        first = problems[0]
        field = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]
        )
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        text = first["msg"].removeprefix("Value error, ")
        raise CallersError(f"{field}: {text}{more}") from None


def _caller(entry: _Entry, namespace: str) -> Caller:
    options = entry.options
    restrictions = entry.access_restrictions
    return Caller(
        principal=ServicePrincipal(
            subject=options.subject,
            namespace=options.namespace or namespace,
            broadcast=options.broadcast,
            max_recipients=options.max_recipients,
            rate=options.rate,
        ),
        restricted_to=None if restrictions is None else tuple(item.plugin for item in restrictions),
    )
