"""Asks the API server whose a token is (``authentication.k8s.io/v1`` TokenReview)."""

from __future__ import annotations

from ..api.errors import UnavailableError
from .transport import Transport

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"


class TokenReviews:
    """Creates TokenReviews; the right to do so is all that is needed."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def user_of(self, token: str, *, audience: str) -> str | None:
        """Return the name of the user that a token stands for, if it is meant for an audience.

        A ServiceAccount's is ``system:serviceaccount:<namespace>:<name>``.

        Returns
        -------
        str or None
            ``None`` if the token is invalid, expired, or for another audience. An answer without
            audiences is for the API server alone (the documentation of ``TokenReviewStatus``).

        Raises
        ------
        KubernetesError
            If the API server does not say.
        """
        answer = await self._transport.request(
            "POST",
            PATH,
            body={
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token, "audiences": [audience]},
            },
        )
        status = answer.get("status")
        if not isinstance(status, dict):
            raise UnavailableError(f"POST {PATH}: answered without a status")
        if status.get("authenticated") is not True or audience not in status.get("audiences", ()):
            return None
        username = status.get("user", {}).get("username")
        return username if isinstance(username, str) and username else None
