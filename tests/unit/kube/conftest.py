"""Operators in memory that ask for one cluster's Lease."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.kube.electorate import Electorate


@pytest.fixture
async def electorate() -> AsyncIterator[Electorate]:
    """A cluster in which nobody leads yet."""
    made = Electorate()
    yield made
    await made.close()
