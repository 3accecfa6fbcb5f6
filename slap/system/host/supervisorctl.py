"""Supervisor's own client, with its shell and all of its actions."""

from collections.abc import Sequence
from pathlib import Path

from supervisor import supervisorctl


def run_client(configuration: Path, words: Sequence[str]) -> int:
    """What `supervisorctl WORDS` does; without words, a shell. Returns its exit status."""
    try:
        supervisorctl.main(["-c", str(configuration), *words])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
