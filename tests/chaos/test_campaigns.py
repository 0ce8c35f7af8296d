"""Each campaign in short; `make chaos` runs them at length."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.installation import Installation

from . import api_faults, kill, oauth2, partition, smtp_faults
from .gateway import campaign as gateway
from .stage import installed

pytestmark = pytest.mark.cluster

SEED = 1


@pytest.fixture(scope="module")
def installation(
    worker_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """The chart in a cluster of this module's own."""
    directory = tmp_path_factory.mktemp("chaos")
    with installed(f"chaos-{worker_id}-{os.getpid()}", directory) as installation:
        yield installation


async def test_killed_at_every_instant(installation: Installation) -> None:
    figures = await kill.run(installation, seed=SEED, kills=10)
    assert figures.broken == []
    assert figures.kills == 10
    assert figures.in_doubt > 0, "no kill hit anything"


async def test_killed_while_access_tokens_are_hard_to_get(installation: Installation) -> None:
    figures = await oauth2.run(installation, seed=SEED, kills=1)
    assert figures.broken == []
    assert figures.kills == 1
    assert figures.mails > 0


async def test_every_trouble_of_the_api_server(installation: Installation) -> None:
    figures = await api_faults.run(installation, seed=SEED, rounds=15, longest=2.0)
    assert figures.broken == []
    assert figures.doubles == 0


async def test_mail_servers_at_their_worst(installation: Installation) -> None:
    figures = await smtp_faults.run(installation, seed=SEED, rounds=8)
    assert figures.broken == []
    assert sum(figures.instants.values()) > 0, "no fault was met"


async def test_two_operators(installation: Installation) -> None:
    figures = await partition.run(installation, seed=SEED, rounds=6)
    assert figures.broken == []
    assert figures.takeovers > 0, "nobody took over"


async def test_gateway_postgresql_and_operator_killed_under_posts(
    installation: Installation,
) -> None:
    figures = await gateway.run(installation, seed=SEED, rounds=5)
    assert figures.broken == []
    assert figures.kills >= 5
    assert figures.accepted > 0 and figures.inbox_rows > 0
