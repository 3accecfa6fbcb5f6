"""The disk that tells a new machine its name, its keys, and what to run."""

from pathlib import Path

from slap.model.vm.seed import Seed
from slap.system.disk.iso import write_iso

# By this label cloud-init, and what reads such disks besides, know one.
LABEL = "cidata"


def make_seed(seed: Seed, path: Path) -> bool:
    """Have a seed's disk at a path, to attach read-only (as a virtio disk or a CD-ROM); whether it changed.

    The same seed leaves the file untouched, so this may be called before each start, also of a machine that runs.
    Only its owner can read it: user-data may hold secrets.
    """
    return write_iso(path, LABEL, seed.files())
