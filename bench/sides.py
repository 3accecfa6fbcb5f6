"""What the two sides have in common: places, the payload, and the words in which a benchmark speaks to either of them."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cage import Cage, CommandFailed
from wire import Answer, Call

ROOT = Path(__file__).resolve().parent.parent
SOFTWARE = Path(__file__).resolve().parent / "software"
PAYLOAD = SOFTWARE / "listen.py"
STATE = ROOT / "var" / "bench"
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Order:
    """An instance to be requested: `depth` beyond 1 has it request a child, and so on."""

    reference: str
    state: str = "started"
    text: str = ""
    depth: int = 1

    @property
    def release(self) -> str:
        return "tree" if self.depth > 1 else "one"


class Side(Protocol):
    """A master with a node whose commands make one pass and end, and how clients speak to that master."""

    name: str
    cage: Cage
    port: int

    def start_master(self) -> None: ...
    def format(self, partitions: int) -> None:
        """Give the computer so many partitions and a supply, without a node."""

    def start_node(self, partitions: int) -> None:
        """The master, a formatted node with both releases built, and all that has to run beside a pass."""

    def order(self, order: Order) -> None: ...
    def run_pass(self) -> float:
        """Process all partitions once; how many seconds it took. Raises CommandFailed when one of them failed."""

    def running(self) -> int:
        """How many payloads answer."""

    def follow(self) -> None:
        """Begin to act on orders as they come, where there is an agent for that."""

    def unfollow(self) -> None: ...
    def fulfil(self, order: Order, running: int) -> tuple[float, int]:
        """Order, and wait until so many payloads run and are reported: seconds, and passes made for it on demand."""

    def bare_buildout(self) -> float:
        """Seconds that buildout alone takes for the instance profile of the release "one", in a fresh folder."""

    def type(self, *words: str) -> float:
        """Run a command of the side's `slapos`; seconds."""

    def client_configuration(self) -> Path: ...
    def request_call(self, order: Order) -> Call: ...
    def state_call(self) -> Call: ...
    def partition_of(self, answer: Answer) -> str:
        """Where an accepted request was placed."""

    def references(self) -> set[str]:
        """The names of the instances that exist on the computer."""


def wait_until(condition: Callable[[], bool], what: str, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise CommandFailed(f"waited {patience:g} s in vain: {what}")
        time.sleep(0.01)


def render(template: Path, target: Path, words: Mapping[str, object]) -> Path:
    """A copy of a file, with @WORD@ replaced."""
    text = template.read_text()
    for word, value in words.items():
        text = text.replace(f"@{word}@", str(value))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return target
