"""What the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.cli.fakes import Shell


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """In a folder with a short path: nodes have sockets in theirs."""
    with TemporaryDirectory(prefix="slap-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "r/hello").mkdir(parents=True)
        (folder / "r/hello/software.cfg").write_text("[buildout]\n")
        yield Shell(folder, capsys)
