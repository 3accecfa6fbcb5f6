"""What nothing needs any more is found, and nothing else."""

from pathlib import Path

import pytest

from slap.model.node import DesiredInstance, DesiredSupply
from slap.model.state import InstanceState, SupplyState
from slap.node.core.store import Store
from slap.node.software.prune import find_leftovers, prune
from slap.system import files
from tests.unit.node.things import PART, URL, a_config, a_supply, an_instance, wants


@pytest.mark.parametrize(
    ("wish", "goes"),
    [
        (None, True),
        (a_supply(), False),
        (a_supply(state=SupplyState.DESTROYED), True),
        (an_instance(), False),
        (an_instance(state=InstanceState.STOPPED), False),
        (an_instance(state=InstanceState.DESTROYED), False),  # it may still run
    ],
)
def test_a_release_goes_when_neither_supply_nor_instance_wants_it(
    tmp_path: Path, wish: DesiredSupply | DesiredInstance | None, goes: bool
) -> None:
    config = a_config(tmp_path)
    store = Store(config.store_file)
    if wish:
        wants(store, wish)
    files.make_folder(config.software(URL) / "parts")
    config.software_log(URL).touch()
    found = {leftover.path for leftover in find_leftovers(config, store)}
    assert found == ({config.software(URL), config.software_log(URL)} if goes else set())


def test_downloads_and_logs_of_what_is_gone_are_removed(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    for folder in (
        config.download_cache,
        config.partition_logs / "slappart9",
        config.partition_logs / PART,
        config.partition(PART),
    ):
        files.make_folder(folder)
    leftovers = find_leftovers(config, Store(config.store_file))
    assert {each.path.name for each in leftovers} == {".download-cache", "slappart9"}
    prune(leftovers)
    assert find_leftovers(config, Store(config.store_file)) == ()
    assert (config.partition_logs / PART).exists()
