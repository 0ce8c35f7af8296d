"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

from tests.support.limits import (
    pytest_configure,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)

__all__ = ["pytest_configure", "pytest_runtest_setup", "pytest_runtest_teardown"]

# A busy machine must not fail a law: none of them is about time.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
