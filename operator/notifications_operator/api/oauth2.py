"""``spec.email.transportConfig.oauth2``: logging in with access tokens instead of a password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from .fields import PRINTABLE_PATTERN, WORD_PATTERN
from .resource import KubernetesModel
from .secrets import SecretKeyRef

TOKEN_URL_PATTERN = r"^https://[^\x00-\x20\x7f-\xa0/?#@\\]+([/?][^\x00-\x20\x7f-\xa0#]*)?$"  # noqa: S105 - a pattern
"""An absolute https URL without user information and fragment (RFC 6749 section 3.2)."""

SCOPE_PATTERN = r"^[\x21\x23-\x5b\x5d-\x7e]+$"
"""RFC 6749 section 3.3."""

TOKEN_FILE_PATTERN = r"^/[^\x00-\x1f\x7f]*$"  # noqa: S105 - a pattern
"""An absolute path."""


_CLIENT = ("clientSecretRef", "federatedTokenFile")
"""Proofs of who the client is; one of them is given."""


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """Fields of a grant beside those that all grants have."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


_GRANTS: Mapping[str, _Fields] = {
    "clientCredentials": _Fields(optional=_CLIENT),
    "jwtBearer": _Fields(required=("privateKeyRef",), optional=("subject",)),
    "refreshToken": _Fields(required=("refreshTokenRef",), optional=_CLIENT),
}


class OAuth2Config(KubernetesModel):
    """The way to access tokens (RFC 6749, RFC 7523)."""

    grant: Literal["clientCredentials", "jwtBearer", "refreshToken"]
    token_url: Annotated[str, StringConstraints(max_length=2048, pattern=TOKEN_URL_PATTERN)]
    client_id: Annotated[
        str, StringConstraints(min_length=1, max_length=512, pattern=PRINTABLE_PATTERN)
    ]
    scopes: Annotated[
        list[Annotated[str, StringConstraints(max_length=1024, pattern=SCOPE_PATTERN)]],
        Field(max_length=64),
    ] = Field(default_factory=list)
    username: (
        Annotated[str, StringConstraints(min_length=1, max_length=320, pattern=WORD_PATTERN)] | None
    ) = None
    subject: (
        Annotated[str, StringConstraints(min_length=1, max_length=320, pattern=WORD_PATTERN)] | None
    ) = None
    client_secret_ref: SecretKeyRef | None = None
    private_key_ref: SecretKeyRef | None = None
    refresh_token_ref: SecretKeyRef | None = None
    federated_token_file: (
        Annotated[str, StringConstraints(max_length=1024, pattern=TOKEN_FILE_PATTERN)] | None
    ) = None

    @model_validator(mode="after")
    def _fields_fit_grant(self) -> Self:
        fields = {
            "subject": self.subject,
            "clientSecretRef": self.client_secret_ref,
            "privateKeyRef": self.private_key_ref,
            "refreshTokenRef": self.refresh_token_ref,
            "federatedTokenFile": self.federated_token_file,
        }
        given = [name for name, value in fields.items() if value is not None]
        known = _GRANTS[self.grant]
        if missing := [name for name in known.required if name not in given]:
            raise ValueError(f"grant {self.grant} needs {', '.join(missing)}")
        if foreign := [name for name in given if name not in known.required + known.optional]:
            raise ValueError(f"{', '.join(foreign)}: not of grant {self.grant}; remove them")
        if (shown := len([name for name in _CLIENT if name in given])) > 1:
            raise ValueError(f"{' and '.join(_CLIENT)} exclude each other; remove either")
        if not shown and self.grant == "clientCredentials":
            raise ValueError(f"grant {self.grant} needs {' or '.join(_CLIENT)}")
        return self
