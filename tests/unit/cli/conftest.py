"""What the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli.fakes import Shell


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    (tmp_path / "r/hello").mkdir(parents=True)
    (tmp_path / "r/hello/software.cfg").write_text("[buildout]\n")
    yield Shell(tmp_path, capsys)
