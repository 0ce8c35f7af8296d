"""The client of OAuth 2 that ``transportConfig.oauth2`` and its Secrets describe."""

from __future__ import annotations

import json
import ssl
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import RSAKey

from ....api.oauth2 import OAuth2Config
from ....api.secrets import SecretKeyRef
from ....catalog.quoting import quoted
from ...base import SecretKey
from ...errors import InvalidProcessorConfig
from ..secret_values import place_of, secret_key, secret_text, secret_value
from .grants import (
    ClientAuthentication,
    ClientCredentials,
    ClientSecret,
    FederatedToken,
    Grant,
    JWTBearer,
    RefreshToken,
)

FIELD = "spec.email.transportConfig.oauth2"

API_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
"""The token that the operator shows to the API server."""

_SHORTEST_KEY = 2048
"""Bits of an RSA key (RFC 7518 section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class OAuth2Credentials:
    """The way to access tokens, and the mailbox that they are for."""

    username: str
    grant: Grant = field(repr=False)
    token_url: str
    tls_context: ssl.SSLContext
    secrets: Sequence[str] = field(repr=False)


def oauth2_secret_keys(config: OAuth2Config) -> Sequence[SecretKey]:
    """Return the Secret keys that a grant needs."""
    references = (config.client_secret_ref, config.private_key_ref, config.refresh_token_ref)
    return [secret_key(reference) for reference in references if reference is not None]


def oauth2_credentials(
    config: OAuth2Config,
    secrets: Mapping[SecretKey, bytes],
    *,
    sender: str,
    tls_context: ssl.SSLContext,
    own_tokens: Sequence[str] = (),
) -> OAuth2Credentials:
    """Read a grant and its Secrets.

    Parameters
    ----------
    sender
        The address that mails are from.
    tls_context
        Checks the token endpoint.
    own_tokens
        Files with tokens of the operator's own, beside the one for the API server.

    Raises
    ------
    InvalidProcessorConfig
        If it cannot work; the message names the field, or the Secret and its key.
    SecretNotFound
        If a Secret's key is missing.
    """
    username = config.username or sender
    own = (API_TOKEN, *map(Path, own_tokens))
    return OAuth2Credentials(
        username=username,
        grant=_grant(config, secrets, username, own),
        token_url=_endpoint(config.token_url),
        tls_context=tls_context,
        secrets=[
            secret_text(key, secrets)
            for key in oauth2_secret_keys(config)
            if config.private_key_ref is None
        ],
    )


def _endpoint(url: str) -> str:
    """Return a URL that has a host, and a port if any; the API server takes more than that."""
    try:
        parts = urlsplit(url)
        usable = parts.hostname is not None and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidProcessorConfig(
            f"{FIELD}.tokenUrl: {quoted(url)} has no host, or a port that is none; write such as "
            "https://login.microsoftonline.com/TENANT/oauth2/v2.0/token"
        )
    return url


def _grant(
    config: OAuth2Config, secrets: Mapping[SecretKey, bytes], username: str, own: Sequence[Path]
) -> Grant:
    scope = " ".join(config.scopes)
    authentication = _authentication(config, secrets, own)
    match config:
        case OAuth2Config(grant="clientCredentials") if authentication is not None:
            return ClientCredentials(
                client_id=config.client_id, authentication=authentication, scope=scope
            )
        case OAuth2Config(grant="jwtBearer", private_key_ref=SecretKeyRef() as reference):
            key, key_id = _private_key(reference, secrets, config.client_id)
            return JWTBearer(
                client_id=config.client_id,
                subject=config.subject or username,
                audience=config.token_url,
                scope=scope,
                key=key,
                key_id=key_id,
                place=place_of(secret_key(reference)),
            )
        case OAuth2Config(grant="refreshToken", refresh_token_ref=SecretKeyRef() as reference):
            return RefreshToken(
                client_id=config.client_id,
                authentication=authentication,
                scope=scope,
                token=secret_text(secret_key(reference), secrets),
                place=place_of(secret_key(reference)),
            )
        case _:
            # The models and the API server ask for what a grant needs.
            raise InvalidProcessorConfig(f"{FIELD}: grant {config.grant} lacks what it needs")


def _authentication(
    config: OAuth2Config, secrets: Mapping[SecretKey, bytes], own: Sequence[Path]
) -> ClientAuthentication | None:
    if config.client_secret_ref is not None:
        key = secret_key(config.client_secret_ref)
        return ClientSecret(place=place_of(key), secret=secret_text(key, secrets))
    if config.federated_token_file is not None:
        return FederatedToken(path=Path(config.federated_token_file), own=own)
    return None


def _private_key(
    reference: SecretKeyRef, secrets: Mapping[SecretKey, bytes], client_id: str
) -> tuple[RSAKey, str | None]:
    """Read a key in PEM form, or as Google's key file has it, with its id."""
    place = place_of(secret_key(reference))
    text = secret_value(secret_key(reference), secrets)
    key_id = None
    if text.lstrip().startswith(b"{"):
        text, key_id = _key_file(text, place, client_id)
    key = _imported(text)
    if key is None or not key.is_private:
        raise InvalidProcessorConfig(
            f"{FIELD}.privateKeyRef: {place}: holds no RSA private key; write it as PEM without a "
            "passphrase, or the JSON key file of a Google service account"
        )
    if (bits := key.raw_value.key_size) < _SHORTEST_KEY:
        raise InvalidProcessorConfig(
            f"{FIELD}.privateKeyRef: {place}: the key has {bits} bits; write one of at least "
            f"{_SHORTEST_KEY}"
        )
    return key, key_id


def _imported(text: bytes) -> RSAKey | None:
    """Read an RSA key; the error's text is dropped, because it may contain the key."""
    try:
        with warnings.catch_warnings():
            # It warns of short keys, which are refused anyway.
            warnings.simplefilter("ignore", SecurityWarning)
            return RSAKey.import_key(text)
    except (ValueError, TypeError, JoseError):
        return None


def _key_file(text: bytes, place: str, client_id: str) -> tuple[bytes, str | None]:
    """Return the key of a Google service account's key file, and the key's id."""
    try:
        found = json.loads(text)
        key, account = found["private_key"].encode(), found["client_email"]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise InvalidProcessorConfig(
            f"{FIELD}.privateKeyRef: {place}: is no key file of a service account (private_key and "
            "client_email)"
        ) from None
    if account != client_id:
        raise InvalidProcessorConfig(
            f"{FIELD}.clientId: {quoted(client_id)} is not the account of the key file in {place}, "
            f"which is of {quoted(str(account))}; write that"
        )
    key_id = found.get("private_key_id")
    return key, key_id if isinstance(key_id, str) else None
