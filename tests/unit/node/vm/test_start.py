"""The seed as a disk."""

from pathlib import Path

from slap.model.vm.seed import Seed
from slap.node.vm.start import make_seed
from slap.system.disk.iso import read_iso


def test_a_seed_is_made_once(tmp_path: Path) -> None:
    seed, path = Seed(identity="one", hostname="a"), tmp_path / "seed.iso"
    assert make_seed(seed, path)
    assert read_iso(path) == seed.files()
    assert not make_seed(seed, path)
    assert make_seed(seed.model_copy(update={"hostname": "b"}), path)
