"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# A busy machine must not fail a law: none of them is about time.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
