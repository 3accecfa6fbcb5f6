"""What takes long to make and is the same for each run of the tests, kept on this machine."""

import os
from pathlib import Path


def kept() -> Path:
    """A folder that only who runs the tests may write to; all may read."""
    folder = Path(f"/tmp/slap-tests-{os.geteuid()}")
    folder.mkdir(mode=0o755, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid()
    return folder
