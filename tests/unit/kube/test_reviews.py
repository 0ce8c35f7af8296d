"""Whose a token is, as the API server says it."""

from __future__ import annotations

from typing import Any

import pytest

from notifications_operator.api.errors import ForbiddenError, UnavailableError
from notifications_operator.kube.reviews import TokenReviews
from tests.unit.kube.peer import failure, peer, reply

NAME = "system:serviceaccount:notifications-system:notifications"


async def review(status: Any) -> str | None:
    async with peer() as server:
        server.answer(reply({"kind": "TokenReview", "status": status}, status=201))
        return await TokenReviews(server.transport).user_of("t0ken", audience="ours")


def valid(**changes: Any) -> dict[str, Any]:
    return {"authenticated": True, "user": {"username": NAME}, "audiences": ["ours"], **changes}


async def test_it_asks_for_one_token_and_audience() -> None:
    async with peer() as server:
        server.answer(reply({"status": valid()}, status=201))
        assert await TokenReviews(server.transport).user_of("t0ken", audience="ours") == NAME
        (request,) = server.received
        assert (request.method, request.path) == (
            "POST",
            "/apis/authentication.k8s.io/v1/tokenreviews",
        )
        assert request.body == {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": "t0ken", "audiences": ["ours"]},
        }


@pytest.mark.parametrize(
    "status",
    [
        {"error": "token expired"},
        valid(authenticated=False),
        valid(authenticated="true"),
        valid(audiences=["https://kubernetes.default.svc"]),
        valid(audiences=[]),
        {"authenticated": True, "user": {"username": NAME}},
        valid(user={}),
        valid(user={"username": ""}),
    ],
)
async def test_whoever_is_not_surely_meant_is_nobody(status: dict[str, Any]) -> None:
    assert await review(status) is None


async def test_no_status_is_no_word() -> None:
    with pytest.raises(UnavailableError):
        await review(None)


async def test_missing_right_is_an_error() -> None:
    async with peer() as server:
        server.answer(failure(403, "tokenreviews is forbidden"))
        with pytest.raises(ForbiddenError) as caught:
            await TokenReviews(server.transport).user_of("t0ken", audience="ours")
    assert "t0ken" not in str(caught.value)
