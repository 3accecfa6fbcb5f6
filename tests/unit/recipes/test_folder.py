"""Folders for data."""

import pytest

from slap.recipes.common.base import RecipeError
from tests.unit.recipes.instance import Partition

PROFILE = """
[folders]
recipe = slap:folder
data = {path}
"""


def test_folders_are_made_and_outlive_their_part(partition: Partition) -> None:
    for path in ("srv/data", "srv/other"):
        with partition.read(PROFILE.format(path=path)) as buildout:
            assert buildout["folders"].recipe.install() == []
            assert buildout["folders"]["data"] == str(partition.folder / path)
    for path in ("srv/data", "srv/other"):
        assert (partition.folder / path).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("path", ["/tmp/elsewhere", "../other", "."])
def test_a_folder_elsewhere_is_refused(path: str, partition: Partition) -> None:
    profile = PROFILE.format(path=path)
    with partition.read(profile) as buildout, pytest.raises(RecipeError, match=r"\[folders\]"):
        buildout["folders"]
