"""Which user of the catalog a token is about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...catalog.refs import EntityRef, InvalidEntityRef
from .tokens import TokenError

FindUserByEmail = Callable[[str], str | None]
"""Returns the entity ref of the user with an address, ``None`` unless there is exactly one."""


def user_ref(value: object, *, claim: str) -> str:
    """Return the ref of a user in lower case, read from the value of a claim.

    Parameters
    ----------
    value
        ``user:default/ada``, in any case, or only ``ada``.
    claim
        Names it in messages.

    Raises
    ------
    TokenError
        If it names no user.
    """
    if not isinstance(value, str):
        raise TokenError(f"its claim {claim!r} is no string")
    try:
        ref = EntityRef.parse(value, default_kind="user")
    except InvalidEntityRef as error:
        raise TokenError(f"its claim {claim!r} names no user: {error}") from error
    if ref.kind != "user":
        raise TokenError(f"its claim {claim!r} names a {ref.kind} and no user: {ref}")
    return str(ref)


class UserMapping:
    """Maps the claims of OpenID Connect tokens to users of the catalog.

    Parameters
    ----------
    claim
        The claim with the user's ref.
    match_email
        Whether claims without it are mapped by the verified ``email``.
    find_user_by_email
        Looks the address up.
    """

    def __init__(
        self, *, claim: str, match_email: bool, find_user_by_email: FindUserByEmail
    ) -> None:
        self._claim = claim
        self._match_email = match_email
        self._find_user_by_email = find_user_by_email

    def entity_ref(self, claims: Mapping[str, Any]) -> str:
        """Return the user's ref in lower case.

        Raises
        ------
        TokenError
            If the claims name no user, saying which claim is missing or why it does not do.
        """
        if (value := claims.get(self._claim)) is not None:
            return user_ref(value, claim=self._claim)
        if not self._match_email:
            raise TokenError(f"it names no user of the catalog: it has no claim {self._claim!r}")
        return self._by_email(claims)

    def names_user(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether the claims say who the user is, rightly or not."""
        return claims.get(self._claim) is not None or (
            self._match_email and claims.get("email") is not None
        )

    def _by_email(self, claims: Mapping[str, Any]) -> str:
        email = claims.get("email")
        if not isinstance(email, str) or not email:
            raise TokenError(
                f"it names no user of the catalog: it has neither {self._claim!r} nor 'email'"
            )
        # Only the boolean: whoever may enter any address would otherwise be anybody.
        if claims.get("email_verified") is not True:
            raise TokenError("its e-mail address is not verified (email_verified)")
        ref = self._find_user_by_email(email)
        if ref is None:
            raise TokenError("its e-mail address is not that of exactly one user of the catalog")
        return user_ref(ref, claim="email")
