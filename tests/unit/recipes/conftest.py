"""What the tests of instance recipes start from."""

from pathlib import Path

import pytest

from tests.unit.recipes.instance import Partition


@pytest.fixture
def partition(tmp_path: Path) -> Partition:
    return Partition(tmp_path)
