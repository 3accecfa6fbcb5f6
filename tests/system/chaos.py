"""What a test of chaos needs: somebody who orders all the time and keeps a ledger, and a view on the node's processes."""

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

from slap.model.errors import CannotBePlaced, NotFound, Unreachable
from slap.model.instance import InstanceRequest
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState
from slap.system.processes import NODE_MARK, Mark, find_marked, is_descendant
from tests.system.cloud import Cloud

MOST_AT_ONCE = 6
ENDLESS = "sleep 99999"


@dataclass
class Ledger:
    """What was acknowledged last of each service, and what may be true as well because an answer did not arrive."""

    acknowledged: dict[str, InstanceRequest] = field(default_factory=dict)
    doubtful: dict[str, InstanceRequest] = field(default_factory=dict)

    def names(self) -> set[str]:
        return self.acknowledged.keys() | self.doubtful.keys()

    def possible(self, name: str) -> list[InstanceRequest | None]:
        """None is for a service that need not be there."""
        known = self.acknowledged.get(name)
        return [known, self.doubtful[name]] if name in self.doubtful else [known]

    def living(self) -> list[str]:
        """Those of which it is known what they shall be, and that they shall be."""
        known = (each for each in self.acknowledged.values() if each.reference not in self.doubtful)
        return [each.reference for each in known if each.state is not InstanceState.DESTROYED]


class Client(threading.Thread):
    """Places, changes, stops, starts and destroys services, and now and then has their release built anew."""

    def __init__(self, cloud: Cloud, url: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.ledger = Ledger()
        self.refused = 0
        self.taken = 0
        self.lost = 0
        self._master = cloud.master()
        self._supply = SupplyRequest(url=url, computer=cloud.computer)
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._random.uniform(0, 0.2)):
            if self._random.random() < 0.1:
                self._build_anew()
            elif self.ledger.doubtful and self._random.random() < 0.5:
                self._order(self.ledger.doubtful[min(self.ledger.doubtful)])
            else:
                self._order(self._wish())

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _wish(self) -> InstanceRequest:
        living = self.ledger.living()
        if len(living) < 2 or (len(living) < MOST_AT_ONCE and self._random.random() < 0.3):
            name = f"service{len(self.ledger.names())}-{self.refused}"
            return InstanceRequest(reference=name, software_release=self._supply.url, parameters=self._parameters())
        wanted = self.ledger.acknowledged[self._random.choice(living)]
        is_stopped = wanted.state is InstanceState.STOPPED
        changes: list[dict[str, object]] = [
            {"parameters": self._parameters()},
            {"state": InstanceState.STARTED if is_stopped else InstanceState.STOPPED},
            {"state": InstanceState.DESTROYED},
        ]
        return wanted.model_copy(update=self._random.choice(changes))

    def _order(self, wish: InstanceRequest) -> None:
        """An order is repeated until it is heard: it may have been carried out each time."""
        try:
            self._master.request(wish)
        except Unreachable:
            self.lost += 1
            self.ledger.doubtful[wish.reference] = wish
        except CannotBePlaced:  # partitions are given back only when their node saw them empty
            self.refused += 1
        except NotFound:
            assert wish.state is InstanceState.DESTROYED
            self._heard(wish)
        else:
            self._heard(wish)

    def _heard(self, wish: InstanceRequest) -> None:
        self.taken += 1
        self.ledger.acknowledged[wish.reference] = wish
        self.ledger.doubtful.pop(wish.reference, None)

    def _build_anew(self) -> None:
        try:
            self._master.supply(self._supply)
        except Unreachable:
            return  # what was supplied stays supplied

    def _parameters(self) -> dict[str, int]:
        return {"seconds": self._random.randrange(100_000, 999_999)}


@dataclass(frozen=True)
class Processes:
    """The processes of a node, by what they are for; 0 for what is not there."""

    folder: Path

    def supervisord(self) -> int:
        return self._first(f"supervisord -c {self.folder}/")

    def agent(self) -> int:
        return self._first("slapos node agent --cfg")

    def master(self) -> int:
        return self._first("slapos proxy start")

    def builder(self) -> int:
        """The warm process: the builds are its children, and look like it."""
        builders = self._all(".buildout.fork_server")
        return next((pid for pid in builders if parent(pid) not in builders), 0)

    def build(self) -> int:
        """A build that runs a program now, which never ends by itself."""
        return next((ancestor for pid in self._all(ENDLESS) if (ancestor := self._fork_above(pid))), 0)

    def strays(self) -> list[str]:
        """What belongs to the node, but not to its supervisord."""
        top = self.supervisord()
        return [f"{pid}: {command(pid)}" for pid in self._marked() if not is_descendant(pid, top) and command(pid)]

    def _fork_above(self, pid: int) -> int:
        warm = self.builder()
        while pid > 1 and parent(pid) != warm:
            pid = parent(pid)
        return pid if pid > 1 else 0

    def _first(self, words: str) -> int:
        return next(iter(self._all(words)), 0)

    def _all(self, words: str) -> list[int]:
        return [pid for pid in self._marked() if words in command(pid)]

    def _marked(self) -> list[int]:
        return find_marked(Mark(NODE_MARK, str(self.folder)))


def command(pid: int) -> str:
    """The command line of a process, empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
