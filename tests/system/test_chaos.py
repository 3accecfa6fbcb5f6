"""Whatever is killed, and whenever: the cloud converges by itself, and nothing that was acknowledged is lost."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.model.errors import SlapError
from slap.model.instance import Instance, InstanceRequest
from slap.model.software import SupplyRequest
from slap.model.state import InstanceState, Status
from tests.system.chaos import ENDLESS, Client, Ledger, Processes, command
from tests.system.cloud import Cloud, eventually, release, small_cloud

ROUNDS = 50
PARTITIONS = 12
PATIENCE = 30  # seconds for everything to be well again
BYSTANDERS = ("bystander1", "bystander2")

INSTANCE = """\
[buildout]
parts = service promise publish
[mine]
recipe = slap:slapconfiguration
[service]
recipe = slap:service
command-line = /bin/sleep ${mine:parameter.seconds}
[promise]
recipe = slap:check-command
command-line = /usr/bin/test -d ${buildout:directory}/etc/service
[publish]
recipe = slap:publish
seconds = ${mine:parameter.seconds}
"""

# A build that never ends by itself, and has a program of its own running.
ENDLESS_PART = """
[buildout]
parts += slow
[slow]
recipe = slap:cmmi
path = {source}
compiler = false
configure-command = {endless}
make-command =
install-command =
"""


@dataclass(frozen=True)
class Scene:
    """The cloud, and what is looked at in it."""

    cloud: Cloud
    processes: Processes
    endless: str  # a release whose build does not end

    def instances(self) -> dict[str, Instance]:
        return {each.reference: each for each in self.cloud.master().instances()}

    def service(self, reference: str) -> int:
        """The id of the service's process while it runs; 0 else."""
        partition = self.instances()[reference].partition
        found = [each.pid for each in self.cloud.processes(partition) if each.state.is_alive]
        return found[0] if found else 0

    def services(self) -> list[int]:
        return [self.service(each) for each in BYSTANDERS]

    def has_build_running(self) -> bool:
        """Ordered again, it is begun at once, however often it failed."""
        if not self.processes.build():
            self.cloud.master().supply(SupplyRequest(url=self.endless, computer=self.cloud.computer))
            eventually(self.processes.build, PATIENCE)
        return True

    def is_well(self) -> bool:
        """Everything that is not being ordered about is there, and seen as it is."""
        known = self.instances()
        return (
            all((self.processes.supervisord(), self.processes.agent(), self.processes.master(), *self.services()))
            and all(known[each].status is Status.STARTED for each in BYSTANDERS)
            and not self.processes.strays()
        )


def test_the_cloud_survives_fifty_kills_at_random_moments(tmp_path: Path) -> None:
    seed = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(1 << 20)))
    print(f"CHAOS_SEED={seed} has the same things killed again.")
    url, endless = _releases(tmp_path)
    chance = random.Random(seed)
    with small_cloud(PARTITIONS) as cloud:
        scene = Scene(cloud, Processes(cloud.folder), endless)
        _order_bystanders(cloud, url)
        client = Client(cloud, url, seed)
        client.start()
        for number in range(ROUNDS):
            victim = chance.choice(list(KILLS))
            threading.Event().wait(chance.uniform(0, 0.5))  # the moment is random too
            print(f"Round {number}: {victim}")
            KILLS[victim](scene)
            _until(scene.is_well, scene)
            assert _partitions_taken_twice(scene) == []
        assert client.is_alive(), "what it was answered is in the output above"
        client.stop()
        print(f"{client.taken} orders were taken, {client.lost} answers were lost")
        assert client.taken > ROUNDS, "nobody ordered anything"
        _until(lambda: not _wrong(scene, client.ledger), scene, lambda: _wrong(scene, client.ledger))
        assert _leftovers(scene) == []


def _kill_agent(scene: Scene) -> None:
    """Services are not its children, and do not even notice."""
    _kill_without_touching_services(scene, scene.processes.agent)


def _kill_master(scene: Scene) -> None:
    _kill_without_touching_services(scene, scene.processes.master)


def _kill_builder(scene: Scene) -> None:
    _kill_without_touching_services(scene, scene.processes.builder)


def _kill_build(scene: Scene) -> None:
    _kill_without_touching_services(scene, scene.processes.build)


def _kill_without_touching_services(scene: Scene, find: Callable[[], int]) -> None:
    """A build is under way, whose programs end with it."""
    _until(lambda: scene.has_build_running(), scene)
    before = scene.services()
    os.kill(find(), signal.SIGKILL)
    _until(scene.is_well, scene)
    assert scene.services() == before


def _kill_supervisord(scene: Scene) -> None:
    os.kill(scene.processes.supervisord(), signal.SIGKILL)


def _kill_service(scene: Scene) -> None:
    """It is started again."""
    name = BYSTANDERS[0]
    killed = scene.service(name)
    os.kill(killed, signal.SIGKILL)
    _until(lambda: scene.service(name) not in (0, killed), scene)


KILLS: dict[str, Callable[[Scene], None]] = {
    "agent": _kill_agent,
    "master": _kill_master,
    "supervisord": _kill_supervisord,
    "builder": _kill_builder,
    "build": _kill_build,
    "service": _kill_service,
}


def _until(is_so: Callable[[], bool], scene: Scene, explain: Callable[[], Any] = lambda: "") -> None:
    """Poll; while the master or supervisord is away, nothing is so."""

    def look() -> bool:
        with suppress(SlapError):
            return is_so()
        return False

    try:
        eventually(look, PATIENCE)
    except AssertionError as error:
        logs = [path.read_text()[-3000:] for path in (scene.cloud.folder / "log").glob("slapos-*.log")]
        raise AssertionError(f"{error}\n{explain()}\n{scene.processes.strays()}\n" + "\n".join(logs)) from error


def _order_bystanders(cloud: Cloud, url: str) -> None:
    cloud.supply(url)
    for name in BYSTANDERS:
        cloud.slapos("request", name, url, "--parameters", "seconds=77777")


def _partitions_taken_twice(scene: Scene) -> list[str]:
    taken = Counter(each.partition for each in scene.cloud.master().instances())
    return [partition for partition, times in taken.items() if times > 1]


def _wrong(scene: Scene, ledger: Ledger) -> list[str]:
    """What differs from what was acknowledged."""
    found = scene.instances()
    wrong = [
        f"{name}: {found.get(name)} is none of {ledger.possible(name)}"
        for name in ledger.names()
        if not any(_is_as(scene, found.get(name), wish) for wish in ledger.possible(name))
    ]
    return wrong + [f"{name} was never ordered" for name in found.keys() - ledger.names() - set(BYSTANDERS)]


def _is_as(scene: Scene, seen: Instance | None, wish: InstanceRequest | None) -> bool:
    if seen is None or wish is None or wish.state is InstanceState.DESTROYED:
        return seen is None and (wish is None or wish.state is InstanceState.DESTROYED)
    running = [command(each.pid) for each in scene.cloud.processes(seen.partition) if each.pid]
    if wish.state is InstanceState.STOPPED:
        return seen.status is Status.STOPPED and not running
    seconds = wish.parameters["seconds"]
    published = seen.connection.get("seconds") == str(seconds)
    return seen.status is Status.STARTED and published and len(running) == 1 and f"sleep {seconds}" in running[0]


def _leftovers(scene: Scene) -> list[str]:
    """Files, groups and processes of services that are not there."""
    used = {each.partition for each in scene.instances().values()}
    free = {f"slappart{number}" for number in range(PARTITIONS)} - used
    files = [str(path) for partition in free for path in (scene.cloud.srv / partition).iterdir()]
    groups = {path.stem for path in (scene.cloud.folder / "etc/supervisord.conf.d").glob("*.conf")} & free
    return [*files, *groups, *scene.processes.strays()]


def _releases(folder: Path) -> tuple[str, str]:
    """The release of all services, and one whose build never ends."""
    (folder / "source").mkdir()
    endless = release(folder / "endless", INSTANCE)
    endless.write_text(endless.read_text() + ENDLESS_PART.format(source=folder / "source", endless=ENDLESS))
    return str(release(folder / "release", INSTANCE)), str(endless)
