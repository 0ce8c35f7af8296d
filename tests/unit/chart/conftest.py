"""The pinned Helm for the chart's tests."""

import pytest

from hack.cluster import tools
from tests.support.helm import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(program=tools().helm, home=tmp_path_factory.mktemp("helm"))
