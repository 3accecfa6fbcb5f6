"""Masters as processes of their own: several on one PostgreSQL, killed, and started where something is in the way."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest

from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.master.proxy import administrator_token, prepare_proxy
from slap.master.server import serve
from slap.master.service.accounts import create_user
from slap.master.settings import MasterSettings
from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition, RegisteredComputer
from slap.model.errors import Conflict, InvalidInput, SlapError, Unreachable
from slap.model.instance import InstanceRequest
from slap.model.node import DesiredState
from slap.model.software import SupplyRequest
from slap.system.environment import clean
from slap.system.process import start_daemon
from slap.system.transport import HttpTransport
from tests.contract.master.world import until
from tests.system.postgresql import PostgreSql, running_postgresql

PROGRAM = (
    "import sys; from slap.master.server import serve; from slap.master.settings import MasterSettings;"
    "serve(MasterSettings.model_validate_json(sys.argv[1]))"
)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgreSql]:
    with running_postgresql() as server:
        yield server


@contextmanager
def process(folder: Path, settings: MasterSettings) -> Iterator[int]:
    """A master as a process, answering; it is dead when the block ends."""
    argv = [sys.executable, "-c", PROGRAM, settings.model_dump_json()]
    pid = start_daemon(argv, clean(folder), folder, folder / "log")
    try:
        until(lambda: _answers(settings.port))
        yield pid
    finally:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answers(port: int) -> bool:
    """Whether a request is answered: a master listens before its database is ready."""
    try:
        return HttpTransport().send("GET", f"http://127.0.0.1:{port}/health", {}, None, 2).status == 200
    except Unreachable:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _api(port: int, token: str) -> NativeMaster:
    return NativeMaster(f"http://127.0.0.1:{port}", token)


def _furnish(folder: Path, admin: Master, partitions: int = 50) -> tuple[RegisteredComputer, str]:
    (folder / "software.cfg").write_text("[buildout]\n")
    (folder / "software.cfg.json").write_text(json.dumps({"name": "nothing"}))
    computer = admin.register_computer(ComputerRegistration(title="one"))
    names = tuple(Partition(name=f"slappart{number}") for number in range(partitions))
    _configure(admin, computer, names)
    return computer, admin.supply(SupplyRequest(url=str(folder), computer="one")).url


def _configure(admin: Master, computer: RegisteredComputer, names: tuple[Partition, ...]) -> None:
    admin.configure_computer(computer.guid, ComputerConfiguration(partitions=names))


def test_what_one_master_changes_is_told_by_the_other(postgresql: PostgreSql, tmp_path: Path) -> None:
    database = postgresql.new_database()
    first, second = (
        MasterSettings(database_url=database, port=_free_port(), release_folders=(tmp_path,)) for _ in range(2)
    )
    with process(tmp_path, first), process(tmp_path, second):
        token = create_user(database, "admin")
        admin = _api(first.port, token)
        computer, url = _furnish(tmp_path, admin)
        node = _api(second.port, computer.token)
        known = node.desired_state(computer.guid).revision
        told: list[tuple[float, DesiredState]] = []

        def follow() -> None:
            state = node.desired_state(computer.guid, since=known, wait=30)
            told.append((time.monotonic(), state))

        follower = Thread(target=follow)
        follower.start()
        time.sleep(0.3)  # so that it waits
        instance = admin.request(InstanceRequest(reference="a", software_release=url))
        ordered = time.monotonic()
        follower.join(30)
        assert [each.guid for each in told[0][1].instances] == [instance.guid]
        assert told[0][0] - ordered < 2


def test_several_workers_are_one_master_and_its_database_may_come_and_go(
    postgresql: PostgreSql, tmp_path: Path
) -> None:
    database = postgresql.new_database()
    settings = MasterSettings(database_url=database, port=_free_port(), release_folders=(tmp_path,), workers=2)
    with process(tmp_path, settings) as pid:
        admin = _api(settings.port, create_user(database, "admin"))
        _, url = _furnish(tmp_path, admin)
        admin.request(InstanceRequest(reference="a", software_release=url))
        postgresql.stop()
        with pytest.raises(Unreachable):
            _api(settings.port, admin._headers["Authorization"].removeprefix("Bearer ")).instances()
        postgresql.start()
        until(lambda: _works(admin))
        assert [each.reference for each in admin.instances()] == ["a"]
        os.kill(pid, signal.SIGTERM)
        until(lambda: not _answers(settings.port))


def _works(admin: Master) -> bool:
    try:
        return bool(admin.instances())
    except SlapError:
        return False


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_killed_master_lost_no_order_that_it_acknowledged(kind: str, postgresql: PostgreSql, tmp_path: Path) -> None:
    database = postgresql.new_database() if kind == "postgresql" else f"sqlite:///{tmp_path / 'master.sqlite'}"
    settings = MasterSettings(database_url=database, port=_free_port(), release_folders=(tmp_path,))
    acknowledged: set[str] = set()
    with process(tmp_path, settings):
        token = create_user(database, "admin")
        _, url = _furnish(tmp_path, _api(settings.port, token), partitions=2000)
    for number in range(4):
        _kill_while_it_takes_orders(tmp_path, settings, _Orders(settings.port, token, url, f"{number}", acknowledged))
    with process(tmp_path, settings):
        instances = _api(settings.port, token).instances()
        (computer,) = _api(settings.port, token).computers()
    assert acknowledged <= {each.reference for each in instances}
    assert len({each.partition for each in instances}) == len(instances) == 2000 - computer.free_partitions


@dataclass
class _Orders:
    """Orders of one round, and the names of those that were acknowledged in any."""

    port: int
    token: str
    url: str
    prefix: str
    acknowledged: set[str]

    def send(self, client: int) -> None:
        """Order until the master dies."""
        api = _api(self.port, self.token)
        for index in range(400):
            reference = f"{self.prefix}-{client}-{index}"
            try:
                api.request(InstanceRequest(reference=reference, software_release=self.url))
            except Unreachable:
                return
            self.acknowledged.add(reference)


def _kill_while_it_takes_orders(folder: Path, settings: MasterSettings, orders: _Orders) -> None:
    enough = len(orders.acknowledged) + 40
    with process(folder, settings) as pid:
        clients = [Thread(target=orders.send, args=(each,)) for each in range(4)]
        for client in clients:
            client.start()
        until(lambda: len(orders.acknowledged) >= enough)
        os.kill(pid, signal.SIGKILL)
        for client in clients:
            client.join()


def test_what_is_in_the_way_of_a_master_is_named(tmp_path: Path) -> None:
    settings = prepare_proxy(tmp_path / "proxy", _free_port())
    with process(tmp_path, settings):
        with pytest.raises(Conflict, match="Another master uses"):
            serve(settings.model_copy(update={"port": 0}))
        with pytest.raises(Conflict, match=f"port {settings.port} of 127.0.0.1"):
            serve(prepare_proxy(tmp_path / "other", settings.port))
    with pytest.raises(InvalidInput, match="Several workers need PostgreSQL"):
        serve(settings.model_copy(update={"workers": 2}))
    with pytest.raises(InvalidInput, match="not the name of a user"):
        create_user(settings.database_url, "../root")
    for url in ("mysql://x/y", "nonsense", "sqlite://"):
        with pytest.raises(InvalidInput, match="URL is not usable"):
            serve(settings.model_copy(update={"database_url": url}))
    with pytest.raises(Unreachable, match="cannot be used now"):
        serve(settings.model_copy(update={"database_url": "postgresql://x@127.0.0.1:1/x", "port": 0}))


def test_slapproxy_is_for_one_machine_and_keeps_its_token_to_its_owner(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"does not listen on 0\.0\.0\.0"):
        prepare_proxy(tmp_path, 0, "0.0.0.0")
    settings = prepare_proxy(tmp_path / "proxy", _free_port())
    token = administrator_token(tmp_path / "proxy")
    assert prepare_proxy(tmp_path / "proxy", settings.port) == settings
    assert administrator_token(tmp_path / "proxy") == token
    with process(tmp_path, settings):
        assert _api(settings.port, token).instances() == []
    for name in ("", "admin.token", "master.sqlite"):
        assert (tmp_path / "proxy" / name).stat().st_mode & 0o077 == 0
