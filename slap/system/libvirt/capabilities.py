"""What a qemu can do: libvirt asks it once, which takes seconds of a processor, and keeps the answer beside the driver.

Partitions of one user share the answer. libvirt takes none that is of another qemu, another kernel, or another right to KVM.
"""

import os
from pathlib import Path

from slap.system import files

_KEPT = "cache/qemu/capabilities"


def take_capabilities(driver: Path, shared: Path) -> None:
    """Have what another driver found out, for one that was never asked."""
    own = driver / _KEPT
    if own.exists() or not shared.is_dir():
        return
    for path in shared.glob("*.xml"):
        if path.stat().st_uid == os.getuid():  # what others wrote is not believed
            files.make_folder(own, 0o700)
            files.write(own / path.name, path.read_bytes(), 0o600)


def leave_capabilities(driver: Path, shared: Path) -> None:
    """Let others have what this driver found out, where this user may."""
    if not os.access(shared.parent, os.W_OK):
        return
    for path in (driver / _KEPT).glob("*.xml"):
        there = shared / path.name
        if not there.exists() or there.stat().st_mtime < path.stat().st_mtime:
            files.make_folder(shared, 0o755)
            files.write(there, path.read_bytes(), 0o600)
