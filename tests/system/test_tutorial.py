"""The tutorials are typed as they stand, in a terminal of 80 columns: what they show is what is seen."""

import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.system.cloud import PROJECT
from tests.system.typed import SLAPOS

PAGES = ("1-first-cloud.md", "2-first-release.md")

# `make` would bring up the cloud of this very project.
TYPED_AS = {"make run": "slapos standalone up", "make stop": "slapos standalone down"}
# What only looks is looked at until it shows what it shall.
LOOKS = re.compile(r"slapos (service (list|info|logs|history)|node status)|curl")

BLOCK = re.compile(r"(?:`(?P<file>motto/[\w.-]+)`:\n\n)?```(?P<kind>\w+)\n(?P<text>.*?)```", re.DOTALL)
URL = re.compile(r"^url +(\S+)", re.MULTILINE)
PID = re.compile(r"RUNNING +(\d+)")

# What differs from one time to another.
CHANGING = (
    (r"\x1b\[[0-9;?]*[A-Za-z]", ""),
    (r"\b(COMP|INST)-\w+", r"\1"),
    (r"/\S*/(motto|software|var)/", r"/\1/"),
    (r"\b127\.\d+\.\d+\.(\d+):\d+", r"127.\1:PORT"),
    (r"\b127\.\d+\.\d+\.(\d+)", r"127.\1"),
    (r"127\.1:\w+|\"port\": \d+|\d+-\d+-\d+T[\d:]+Z", "#"),
    (r"(\d+ min )?\d+(\.\d+)? (s|min)\b|RUNNING +\d+", "#"),
    (r"\s+", " "),
)


@dataclass
class Terminal:
    """Somebody who types into a shell in a folder, and remembers what was shown."""

    folder: Path
    seen: list[str] = field(default_factory=list)

    def type(self, command: str) -> str:
        """All that a command shows, also what is overwritten later."""
        shown = _page(self._last(URL)) if command.startswith("curl") else self._run(self._adapted(command))
        self.seen.append(shown)
        return shown

    def _adapted(self, command: str) -> str:
        """The command with the process that this machine has in place of that of the page."""
        return f"kill -9 {self._last(PID)}" if command.startswith("kill") else TYPED_AS.get(command, command)

    def _run(self, command: str) -> str:
        home = {"HOME": str(self.folder), "LANG": "C.UTF-8", "TERM": "xterm"}
        return subprocess.run(
            ["script", "--quiet", "--command", f"stty cols 80 rows 40; {command}", "/dev/null"],
            env={"PATH": f"{SLAPOS.parent}:/usr/bin:/bin", **home},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout

    def _last(self, pattern: re.Pattern[str]) -> str:
        last: str = next(match for shown in reversed(self.seen) for match in reversed(pattern.findall(shown)))
        return last


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """In a folder like the project's, with the releases that come with it."""
    terminal = Terminal(Path(tempfile.mkdtemp(prefix="slap-", dir="/tmp")))
    terminal.folder.chmod(0o755)
    shutil.copytree(PROJECT / "software", terminal.folder / "software")
    try:
        yield terminal
    finally:
        terminal.type("make stop")
        shutil.rmtree(terminal.folder)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_tutorial_shows_is_what_is_seen(terminal: Terminal, page: str) -> None:
    for block in BLOCK.finditer((PROJECT / "docs/tutorial" / page).read_text()):
        if block["kind"] == "console":
            for command, shown in _typed(block["text"]):
                _compare(terminal, command, [constant(line) for line in shown])
        else:
            (terminal.folder / block["file"]).write_text(block["text"])
    statuses = [PID.findall(shown) for shown in terminal.seen if shown.startswith("PARTITION")]
    for before, after in zip(statuses[:1], statuses[1:][-1:], strict=True):
        assert (before[:-1], before[-1] != after[-1]) == (
            after[:-1],
            True,
        )  # what was killed lives, the rest never died


def test_a_line_that_is_not_seen_is_found() -> None:
    shown = "hello  started  COMP-1b  slappart0  helloworld  26 s\n"
    assert _unseen([constant("hello started COMP-2a slappart0 helloworld 2 min 10 s")], shown) == []
    assert _unseen([constant("hello stopped COMP-1b slappart0 helloworld 26 s")], shown) != []


def constant(text: str) -> str:
    """What of a text is the same each time."""
    for pattern, replacement in CHANGING:
        text = re.sub(pattern, replacement, text)
    return text.strip()


def _typed(block: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that it shows."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def _compare(terminal: Terminal, command: str, expected: list[str]) -> None:
    until = time.monotonic() + (20 if LOOKS.match(command) else 0)
    while unseen := _unseen(expected, shown := terminal.type(command)):
        assert time.monotonic() < until, f"$ {command}\nshows\n{shown}\nand not\n" + "\n".join(unseen)


def _unseen(expected: list[str], shown: str) -> list[str]:
    text = constant(shown)
    return [line for line in expected if line not in text]


def _page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())
