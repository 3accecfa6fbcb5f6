"""A master that is open to its machine: who calls without credentials is told by the Unix user, or not let in."""

import asyncio
import base64
import http.client
import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slap.client.credentials import Credentials
from slap.master.access.auth import Caller, CallerKind, Guard
from slap.master.access.request_credentials import Knock
from slap.master.access.settings import AccessSettings
from slap.master.app import open_store
from slap.master.database.store import Store
from slap.master.service.impersonation import as_computer, as_partition
from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition
from slap.model.errors import Forbidden, NotFound, Unauthenticated
from slap.model.instance import InstanceRequest
from slap.model.software import SupplyRequest
from tests.contract.master.secure import Holder, Secure, secure_master

# A user of every Debian, whose home, /usr/sbin, stands for the folder of a partition.
DAEMON = pwd.getpwnam("daemon")
HOME = Path(DAEMON.pw_dir).name
OPEN = AccessSettings(open_to_this_machine=True)


@pytest.fixture
def door(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path, tls="off", open_to_this_machine=True) as master:
        yield master


def status(door: Secure, **headers: str) -> int:
    """The answer to a request without credentials, but for these headers."""
    connection = http.client.HTTPConnection(urlsplit(door.url).netloc, timeout=20)
    connection.request("GET", "/api/v1/computers", headers={name.replace("_", "-"): headers[name] for name in headers})
    answer = connection.getresponse().status
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Authorization": "X-SlapPartition computer_id=a, computer_partition_id=b"}, 200),
        ({"Host": "evil.example"}, 401),
        ({"Origin": "http://evil.example"}, 401),
        ({"Sec_Fetch_Site": "cross-site"}, 401),
        ({"X_Forwarded_For": "192.0.2.1"}, 401),
        ({"Authorization": "Bearer user:wrong"}, 401),
        ({"Authorization": "Basic " + base64.b64encode(b"any:user:wrong").decode()}, 401),
    ],
)
def test_who_runs_the_master_needs_nothing_but_pages_and_proxies_do(
    door: Secure, headers: dict[str, str], expected: int
) -> None:
    assert status(door, **headers) == expected


def test_the_administrator_is_who_has_the_administrator_s_token(door: Secure) -> None:
    Holder(door, Credentials()).api.register_computer(ComputerRegistration(title="one"))
    assert [each.title for each in door.user("admin").api.computers()] == ["one"]
    assert door.user("eve").api.computers() == []


def test_a_token_as_a_password_is_a_token(door: Secure) -> None:
    word = base64.b64encode(f"any:{door.user().credentials.token}".encode()).decode()
    assert status(door, Authorization=f"Basic {word}") == 200


def test_a_master_for_many_is_not_open(fresh_database: str, tmp_path: Path) -> None:
    with secure_master(fresh_database, tmp_path, tls="off") as closed:
        assert status(closed) == 401


def knock(user: int | None) -> Knock:
    return Knock("", "", lambda: user, is_direct=True)


def furnish(door: Secure, tmp_path: Path) -> str:
    """A computer with an instance in the partition whose Unix user is daemon; the computer's guid."""
    admin = Holder(door, Credentials()).api
    guid = admin.register_computer(ComputerRegistration(title="one")).guid
    partitions = (Partition(name=HOME), Partition(name="another"), Partition(name="free"))
    admin.configure_computer(guid, ComputerConfiguration(partitions=partitions))
    (tmp_path / "software.cfg").write_text("[buildout]\nparts =\n")
    url = str(tmp_path / "software.cfg")
    admin.supply(SupplyRequest(url=url, computer=guid))
    for name in ("first", "second"):
        admin.request(InstanceRequest(reference=name, software_release=url))
    return guid


def test_another_user_stands_for_the_partition_of_that_user_alone(door: Secure, tmp_path: Path) -> None:
    guid = furnish(door, tmp_path)

    async def look(store: Store) -> None:
        guard = Guard(store, OPEN)
        for user in (DAEMON.pw_uid, 4_000_000_000, None):
            with pytest.raises(Unauthenticated):
                await guard.admit(knock(user))
        neighbour = await guard.admit(knock(DAEMON.pw_uid), for_partition=True)
        assert neighbour == Caller(CallerKind.NEIGHBOUR, HOME, "admin")
        inside = await as_partition(store, neighbour, guid, HOME)
        assert inside.kind is CallerKind.PARTITION
        with pytest.raises(Forbidden):
            await as_partition(store, neighbour, guid, "another")
        with pytest.raises(NotFound):
            await as_partition(store, neighbour, "COMP-other", HOME)
        with pytest.raises(Forbidden):  # a partition of that name on a computer of somebody else
            await as_partition(store, Caller(CallerKind.NEIGHBOUR, HOME, "eve"), guid, HOME)
        with pytest.raises(Forbidden):
            await as_computer(store, neighbour, guid)
        with pytest.raises(Unauthenticated):
            await guard.admit(knock(4_000_000_000), for_partition=True)
        assert (await guard.admit(knock(os.geteuid()))).kind is CallerKind.USER
        with pytest.raises(Unauthenticated):
            await guard.admit(Knock("", "", os.geteuid, is_direct=False))
        with pytest.raises(Unauthenticated):
            await Guard(store).admit(knock(0))

    async def run() -> None:
        store = open_store(door.database)
        try:
            await look(store)
        finally:
            await store.close()

    asyncio.run(run())
