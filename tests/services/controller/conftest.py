"""The world without an outside, for each test anew."""

from pathlib import Path

import pytest

from tests.services.controller.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Empty of candidates; fill it with `filled()`."""
    return World(tmp_path)
