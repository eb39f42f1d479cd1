"""What all tests share: hypothesis without deadlines, as nothing here may depend on the clock."""

from __future__ import annotations

from hypothesis import settings

from tests.shared_data import pytest_runtest_makereport  # noqa: F401 - a hook of pytest

settings.register_profile("replay", deadline=None)
settings.load_profile("replay")
