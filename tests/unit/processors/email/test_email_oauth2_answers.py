"""A token endpoint's answers mean what RFC 6749 says, and lies are seen through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from notifications_operator.api.reasons import Reason
from notifications_operator.processors.email.oauth2.answers import (
    ASSUMED_LIFE,
    LONGEST_LIFE,
    Answer,
    IssuedToken,
    read_answer,
)
from notifications_operator.processors.email.redaction import Redactor
from notifications_operator.processors.errors import DeliveryError, Scope

GOOD = {"access_token": "token-1", "token_type": "Bearer"}
REMEDIES = {"invalid_client": "correct the Secret"}


def said(
    body: Any,
    status: int = 200,
    *,
    kind: str = "application/json",
    retry_after: str | None = None,
) -> Answer:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status=status, content_type=kind, retry_after=retry_after, body=octets)


def read(answer: Answer) -> IssuedToken:
    return read_answer(
        answer,
        endpoint="login.example.com",
        remedies=REMEDIES,
        redactor=Redactor(["client-secret-1"]),
    )


def refusal(answer: Answer) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        read(answer)
    error = caught.value
    assert error.scope is Scope.PROCESSOR
    assert error.retryable
    assert error.message.startswith("the token endpoint login.example.com: ")
    assert len(error.message) < 600
    return error


@pytest.mark.parametrize(
    ("code", "status", "reason", "remedy"),
    [
        ("invalid_client", 401, Reason.AUTH_FAILED, "correct the Secret"),
        ("invalid_client", 400, Reason.AUTH_FAILED, "correct the Secret"),
        ("unauthorized_client", 400, Reason.AUTH_FAILED, "check what the application may do there"),
        ("invalid_grant", 400, Reason.AUTH_FAILED, "check what the application may do there"),
        ("access_denied", 403, Reason.AUTH_FAILED, "check what the application may do there"),
        ("something_new", 400, Reason.AUTH_FAILED, "check what the application may do there"),
        ("invalid_scope", 400, Reason.INVALID_CONFIG, "correct oauth2.scopes"),
        ("invalid_resource", 400, Reason.INVALID_CONFIG, "correct oauth2.scopes"),
        ("invalid_target", 400, Reason.INVALID_CONFIG, "correct oauth2.scopes"),
        ("invalid_request", 400, Reason.INVALID_CONFIG, "check oauth2.tokenUrl (the tenant)"),
        ("unsupported_grant_type", 400, Reason.INVALID_CONFIG, "does not have oauth2.grant"),
        ("temporarily_unavailable", 400, Reason.SERVER_BUSY, ""),
        ("server_error", 500, Reason.SERVER_BUSY, ""),
        ("invalid_client", 503, Reason.SERVER_BUSY, ""),
        ("slow_down", 400, Reason.RATE_LIMITED, ""),
        # An error with status 200 is one all the same.
        ("invalid_client", 200, Reason.AUTH_FAILED, "correct the Secret"),
    ],
)
def test_errors_say_what_to_do(code: str, status: int, reason: Reason, remedy: str) -> None:
    body = {"error": code, "error_description": "AADSTS7000215: client-secret-1.\r\nTrace ID: 1"}
    error = refusal(said(body, status))

    assert error.reason is reason
    assert f"it answered {status}: {code}: AADSTS7000215: ***. Trace ID: 1" in error.message
    assert remedy in error.message


@pytest.mark.parametrize("code", ["a" * 10_000, "\r\nX: y", "client-secret-1", ""])
def test_odd_errors(code: str) -> None:
    error = refusal(said({"error": code, "error_description": ["a"]}, 400))

    assert error.reason is Reason.AUTH_FAILED
    assert "\n" not in error.message
    assert "client-secret-1" not in error.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, Reason.RATE_LIMITED),
        (503, Reason.SERVER_BUSY),
        (500, Reason.SERVER_BUSY),
        (408, Reason.SERVER_BUSY),
    ],
)
@pytest.mark.parametrize("body", [b"<html>busy</html>", {"error": "invalid_request"}])
@pytest.mark.parametrize(
    ("header", "pause"),
    [
        (None, None),
        ("17", 17.0),
        ("0", 0.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("999999999", 3600.0),
        ("1" * 400, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_a_pause_that_is_asked_for(
    status: int, reason: Reason, body: Any, header: str | None, pause: float | None
) -> None:
    error = refusal(said(body, status, retry_after=header))

    assert (error.reason, error.retry_after) == (reason, pause)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said(b""), "no JSON object (application/json)"),
        (said(b"null"), "no JSON object"),
        (said(b"[1]"), "no JSON object"),
        (said(b"\xff\xfe{}"), "no JSON object"),
        (said(b"[" * 100_000), "no JSON object"),
        (said(b"<html>log in</html>", kind="text/html"), "no JSON object (text/html)"),
        (said(b"<html>", kind="a\r\nb"), "no JSON object (no known type)"),
        (said({}), "without an access_token"),
        (said({"error": 7}), "without an access_token"),
        (said({**GOOD, "access_token": ""}), "its access_token is none"),
        (said({**GOOD, "access_token": None}), "its access_token is none"),
        (said({**GOOD, "access_token": ["a"]}), "its access_token is none"),
        (said({**GOOD, "access_token": "a b"}), "its access_token is none"),
        (said({**GOOD, "access_token": "a\x01\x01\r\nQUIT"}), "its access_token is none"),
        (said({**GOOD, "access_token": "token\n"}), "its access_token is none"),
        (said({**GOOD, "access_token": "ä"}), "its access_token is none"),
        (said({**GOOD, "access_token": "a" * 20000}), "its access_token is none"),
        (said({**GOOD, "token_type": "mac"}), "token_type is not Bearer"),
        (said({**GOOD, "token_type": 1}), "token_type is not Bearer"),
    ],
)
def test_answers_that_give_no_token(answer: Answer, words: str) -> None:
    error = refusal(answer)

    assert error.reason is Reason.CONNECT_FAILED
    assert words in error.message
    assert error.message.endswith("is oauth2.tokenUrl right?")


@pytest.mark.parametrize("status", [204, 301, 302, 307, 308, 400, 404, 405, 415])
def test_what_is_no_token_endpoint(status: int) -> None:
    error = refusal(said(b"<html>not here</html>", status))

    assert error.reason is Reason.INVALID_CONFIG
    assert error.message.endswith("is oauth2.tokenUrl right?")


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "text/html"])
@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (3599, 3599.0),
        (3599.5, 3599.5),
        ("3599", 3599.0),
        (0.5, 0.5),
        (1e99, LONGEST_LIFE),
        (10**60, LONGEST_LIFE),
        (10**400, LONGEST_LIFE),
        (float("inf"), LONGEST_LIFE),
        (None, ASSUMED_LIFE),
        ("soon", ASSUMED_LIFE),
        ("1" * 5000, ASSUMED_LIFE),
        (-1, ASSUMED_LIFE),
        (0, ASSUMED_LIFE),
        (float("nan"), ASSUMED_LIFE),
        ([], ASSUMED_LIFE),
        (True, ASSUMED_LIFE),
    ],
    ids=lambda value: f"{value:.12}" if isinstance(value, str) else type(value).__name__,
)
def test_the_life_of_a_token(expires_in: Any, seconds: float, kind: str) -> None:
    issued = read(said({**GOOD, "expires_in": expires_in}, kind=kind))

    assert issued == IssuedToken(access_token="token-1", seconds=seconds)


@pytest.mark.parametrize("kind", ["Bearer", "bearer", "BEARER"])
def test_the_type_of_a_token_is_in_any_case(kind: str) -> None:
    assert read(said({**GOOD, "token_type": kind})).access_token == "token-1"


@pytest.mark.parametrize(
    ("token", "taken"),
    [("refresh-2", "refresh-2"), ("", None), (None, None), (1, None), ("a\nb", None)],
)
def test_a_refresh_token_that_comes_along(token: Any, taken: str | None) -> None:
    assert read(said({**GOOD, "refresh_token": token})).refresh_token == taken


def test_a_representation_shows_no_token() -> None:
    issued = IssuedToken(access_token="token-1", seconds=1, refresh_token="refresh-1")
    assert "token-1" not in repr(issued)
    assert "refresh-1" not in repr(issued)
    assert "token-1" not in repr(said(GOOD))
