"""The public keys of an issuer: cached, rotated, kept while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey, RSAKey

from notifications_operator.gateway.identity.documents import (
    DocumentError,
    DocumentReader,
    make_session,
)
from notifications_operator.gateway.identity.keys import KeySource, KeysUnavailable, parse_keys
from notifications_operator.gateway.identity.settings import KeySettings
from tests.support.issuer import Issuer, SigningKey, issuing


class Clock:
    """Seconds that a test decides."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with make_session() as session:
        yield session


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(issuer: Issuer, session: aiohttp.ClientSession, clock: Clock) -> KeySource:
    async def locate() -> str:
        return f"{issuer.url}/jwks"

    return KeySource(
        issuer="the issuer",
        locate=locate,
        documents=DocumentReader(session, allow_http=True, timeout=5),
        settings=KeySettings(unknown_key_interval=10, keep=600, warm_grace=60),
        clock=clock,
    )


async def key_ids(source: KeySource, key_id: str | None, algorithm: str = "ES256") -> list[Any]:
    found = await source.find(algorithm=algorithm, key_id=key_id)
    return [key.get("kid") for key in found]


async def test_read_once(source: KeySource, issuer: Issuer) -> None:
    assert not source.ready
    for _ in range(3):
        assert await key_ids(source, "key-1") == ["key-1"]
    assert issuer.requests["/jwks"] == 1
    assert source.ready


async def test_many_at_once_read_once(source: KeySource, issuer: Issuer) -> None:
    found = await asyncio.gather(*(key_ids(source, "key-1") for _ in range(50)))
    assert found == [["key-1"]] * 50
    assert issuer.requests["/jwks"] == 1


async def test_rotated_key_is_found(source: KeySource, issuer: Issuer) -> None:
    await key_ids(source, "key-1")
    issuer.rotate(SigningKey.generate(key_id="key-2"))
    assert await key_ids(source, "key-2") == ["key-2"]
    assert await key_ids(source, "key-1") == [], "a key that was withdrawn is not accepted"


async def test_unknown_keys_do_not_flood_the_issuer(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    await key_ids(source, "key-1")
    clock.now += 10
    for number in range(20):
        assert await key_ids(source, f"made up {number}") == []
    assert issuer.requests["/jwks"] == 2
    clock.now += 10
    assert await key_ids(source, "made up") == []
    assert issuer.requests["/jwks"] == 3


async def test_key_made_right_after_a_regular_refresh(source: KeySource, issuer: Issuer) -> None:
    # Backstage's plugins make their first key for their first token.
    issuer.published = []
    async with running(source):
        await until(lambda: source.ready)
        issuer.published = [issuer.key]
        assert await key_ids(source, "key-1") == ["key-1"]


async def test_keys_are_kept_while_the_issuer_is_away(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    await key_ids(source, "key-1")
    issuer.away = True
    clock.now += 599
    assert await key_ids(source, "key-1") == ["key-1"]
    clock.now += 2
    with pytest.raises(KeysUnavailable, match=r"the keys of the issuer cannot be read: .* 503"):
        await key_ids(source, "key-1")
    issuer.away = False
    clock.now += 10
    assert await key_ids(source, "key-1") == ["key-1"]


async def test_nothing_can_be_said_of_an_unknown_key_while_the_issuer_is_away(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    await key_ids(source, "key-1")
    issuer.away = True
    clock.now += 10
    with pytest.raises(KeysUnavailable) as raised:
        await key_ids(source, "key-2")
    assert raised.value.retry_after == 10
    assert await key_ids(source, "key-1") == ["key-1"]


async def test_failed_readings_are_not_repeated_at_once(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    issuer.away = True
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            await key_ids(source, "key-1")
    assert issuer.requests["/jwks"] == 1


async def test_refreshed_in_the_background(
    issuer: Issuer, session: aiohttp.ClientSession, clock: Clock
) -> None:
    async def locate() -> str:
        return f"{issuer.url}/jwks"

    source = KeySource(
        issuer="the issuer",
        locate=locate,
        documents=DocumentReader(session, allow_http=True, timeout=5),
        settings=KeySettings(refresh_interval=0.01),
        clock=clock,
    )
    async with running(source):
        await until(lambda: source.ready)
        issuer.rotate(SigningKey.generate(key_id="key-2"))
        read = issuer.requests["/jwks"]
        await until(lambda: issuer.requests["/jwks"] >= read + 2)
        # Nobody has asked for the new key, and the old one is gone.
        clock.now += 1
        assert [key.get("kid") for key in source._keys] == ["key-2"]


async def test_readiness_does_not_wait_for_ever(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    issuer.away = True
    async with running(source):
        await until(lambda: source.tried)
        assert source.problem is not None
        assert "503" in source.problem
        clock.now += 59
        assert not source.ready
        clock.now += 1
        assert source.ready


async def test_without_key_id_all_that_fit(source: KeySource, issuer: Issuer) -> None:
    issuer.published = [
        SigningKey.generate("ES256", key_id="a"),
        SigningKey.generate("RS256", key_id="b"),
        SigningKey.generate("ES384", key_id="c"),
        SigningKey.generate("ES256", key_id="d"),
        SigningKey.generate("Ed25519", key_id="e"),
    ]
    assert await key_ids(source, None) == ["a", "d"]
    assert await key_ids(source, None, "RS256") == ["b"]
    assert await key_ids(source, None, "ES384") == ["c"]
    assert await key_ids(source, None, "Ed25519") == ["e"]


async def test_key_for_another_algorithm_does_not_fit(source: KeySource, issuer: Issuer) -> None:
    issuer.published = [SigningKey.generate("RS256", key_id="key-1")]
    assert await key_ids(source, "key-1", "PS256") == []
    assert await key_ids(source, "key-1", "ES256") == []


KEYS = {name: SigningKey.generate(name) for name in ("RS256", "ES256", "Ed25519")}
GOOD = SigningKey.generate("RS256").public


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(OctKey.generate_key(256).as_dict(), id="symmetric"),
        pytest.param(SigningKey.generate("RS256").private, id="private"),
        pytest.param({**GOOD, "use": "enc"}, id="for encryption"),
        pytest.param({**GOOD, "key_ops": ["sign"]}, id="not for verifying"),
        pytest.param({**GOOD, "key_ops": "verify"}, id="operations that are no list"),
        pytest.param({**GOOD, "kty": "unknown"}, id="unknown type"),
        pytest.param({**GOOD, "kty": ["RSA"]}, id="type that is no string"),
        pytest.param({**GOOD, "kid": 7}, id="id that is no string"),
        pytest.param({**GOOD, "n": "!"}, id="garbage"),
        pytest.param({**GOOD, "n": None}, id="nothing"),
        pytest.param({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, id="not on the curve"),
        pytest.param({"kty": "EC", "crv": "P-000", "x": "AA", "y": "AA"}, id="unknown curve"),
        pytest.param({"kty": "RSA"}, id="empty"),
        pytest.param("RSA", id="no object"),
    ],
)
def test_unusable_keys_are_left_out(entry: object) -> None:
    (key,) = parse_keys({"keys": [entry, GOOD]})
    assert key.get("n") == GOOD["n"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
MEMBERS = st.sampled_from(["kty", "alg", "use", "key_ops", "kid", "x5c", "crv", "x", "y", "n", "e"])


@given(changes=st.dictionaries(MEMBERS, JSON_VALUES, min_size=1, max_size=4))
@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "Ed25519"])
def test_odd_keys_never_fail(algorithm: str, changes: dict[str, Any]) -> None:
    assert len(parse_keys({"keys": [{**KEYS[algorithm].public, **changes}]})) <= 1


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_weak_keys_are_left_out() -> None:
    assert parse_keys({"keys": [RSAKey.generate_key(1024).as_dict(private=False)]}) == ()


@pytest.mark.parametrize("document", [{}, {"keys": {}}, {"keys": [GOOD] * 101}])
def test_no_jwks(document: dict[str, Any]) -> None:
    with pytest.raises(DocumentError):
        parse_keys(document)


async def test_broken_jwks_does_not_replace_a_good_one(
    source: KeySource, issuer: Issuer, clock: Clock
) -> None:
    await key_ids(source, "key-1")
    issuer.documents["/jwks"] = lambda: {"keys": "none"}
    clock.now += 10
    with pytest.raises(KeysUnavailable):
        await key_ids(source, "key-2")
    assert await key_ids(source, "key-1") == ["key-1"]


class running:
    """Runs a source in the background."""

    def __init__(self, source: KeySource) -> None:
        self._source = source

    async def __aenter__(self) -> None:
        self._task = asyncio.create_task(self._source.run())

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)
