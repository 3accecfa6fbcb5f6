"""Revoked is revoked, with all that hangs on it: each act of revoking, by each credential, at each door, before and after."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from slap.client.credentials import Credentials
from slap.master.access.auth import CallerKind
from slap.master.service.accounts import credentials, revoke, revoke_all
from slap.model.computer import ComputerConfiguration, Partition
from slap.model.errors import CannotBePlaced, SlapError, Unauthenticated
from slap.model.instance import InstanceRequest
from slap.model.software import SupplyRequest
from tests.contract.master.secure import Holder, Secure, secure_master
from tests.contract.master.world import until

PARTITIONS = ComputerConfiguration(partitions=tuple(Partition(name=f"slappart{n}") for n in range(4)))


@dataclass(frozen=True)
class Scene:
    """Alice has a computer with an instance in it, and a one-time token for another computer; bob has the same."""

    secure: Secure
    name: str
    user: Holder
    node: Holder
    partition: Holder  # by its token
    certified: Holder  # the same partition, by a certificate
    one_time: str
    url: str
    instance: str

    def doors(self, kind: str) -> dict[str, Callable[[], object]]:
        """What a credential opens: calls that raise when it does not."""
        node = self.node.guid
        inside = f"/api/v1/instances/{self.instance}"
        doors: dict[str, dict[str, Callable[[], object]]] = {
            "user": {
                "native": lambda: enter(self.user, "/api/v1/instances"),
                "hateoas": lambda: enter(self.user, "/hateoas"),
                "classic": lambda: enter(self.user, f"/getFullComputerInformation?computer_id={node}"),
                "one-time tokens": lambda: self.user.token("three"),
                "certificates": lambda: self.user.renewed("alice"),
            },
            "computer": {
                "native": lambda: enter(self.node, f"/api/v1/computers/{node}/state"),
                "hateoas": lambda: enter(self.node, "/hateoas"),
                "classic": lambda: enter(self.node, f"/getFullComputerInformation?computer_id={node}"),
                "certificates": lambda: self.node.renewed("one"),
                "certificates of partitions": lambda: self.node.renewed("inside", "slappart0"),
            },
            "partition": self._inside(self.partition, inside),
            "certified": self._inside(self.certified, inside),
            "one-time": {"registration": lambda: self.secure.computer(f"{self.name}-two", self.one_time)},
        }
        return doors[kind]

    def _inside(self, holder: Holder, path: str) -> dict[str, Callable[[], object]]:
        return {
            "native": lambda: enter(holder, path),
            "hateoas": lambda: enter(holder, "/hateoas"),
            "requests": lambda: holder.api.request(InstanceRequest(reference="child", software_release=self.url)),
            "certificates": lambda: holder.renewed("inside"),
        }


def enter(holder: Holder, path: str) -> None:
    status = holder.get(path)
    if status != 200:
        raise Unauthenticated(f"{path} answered {status}.")


@pytest.fixture
def secure(fresh_database: str, tmp_path: Path) -> Iterator[Secure]:
    with secure_master(fresh_database, tmp_path, release_folders=(tmp_path,)) as secure:
        yield secure


def scene_of(secure: Secure, name: str) -> Scene:
    user = secure.user(name)
    one_time = user.token(f"{name}-two")
    node = secure.computer(f"{name}-one", user.token(f"{name}-one"))
    node.api.configure_computer(node.guid, PARTITIONS)
    release = secure.folder / name / "software.cfg"
    release.parent.mkdir()
    release.write_text("[buildout]\nparts =\n")
    user.api.supply(SupplyRequest(url=str(release), computer=node.guid))
    placed = user.api.request(InstanceRequest(reference="service", software_release=str(release)))
    (desired,) = node.api.desired_state(node.guid).instances
    inside = Holder(secure, Credentials(desired.token, authority=secure.authority))
    certified = node.renewed(f"{name}-inside", placed.partition)
    return Scene(secure, name, user, node, inside, certified, one_time, str(release), placed.guid)


def id_of(scene: Scene, kind: str, form: str) -> str:
    """The first credential of alice's of this kind and form."""
    subjects = {"user": "alice", "computer": scene.node.guid, "partition": scene.instance}
    return next(
        each.id
        for each in credentials(scene.secure.database)
        if (each.kind, each.form, each.subject) == (kind, form, subjects[kind])
    )


def revoke_user(scene: Scene) -> None:
    assert revoke_all(scene.secure.database, CallerKind.USER, "alice")


def revoke_computer(scene: Scene) -> None:
    assert revoke_all(scene.secure.database, CallerKind.COMPUTER, scene.node.guid)


def revoke_token_of_user(scene: Scene) -> None:
    revoke(scene.secure.database, id_of(scene, "user", "token"))


def revoke_certificate_of_computer(scene: Scene) -> None:
    revoke(scene.secure.database, id_of(scene, "computer", "certificate"))


def revoke_certificate_of_partition(scene: Scene) -> None:
    revoke(scene.secure.database, id_of(scene, "partition", "certificate"))


def give_computer_another_token(scene: Scene) -> None:
    scene.user.api.new_computer_token(scene.node.guid)


KINDS = ("user", "computer", "partition", "certified", "one-time")
ALL = frozenset(KINDS)
COMPUTER = frozenset({"computer", "partition", "certified"})


@pytest.mark.parametrize(
    ("act", "ended"),
    [
        (revoke_user, ALL),
        (revoke_token_of_user, ALL),
        (revoke_computer, COMPUTER),
        (revoke_certificate_of_computer, COMPUTER),
        (revoke_certificate_of_partition, frozenset({"certified"})),
        (give_computer_another_token, COMPUTER),
    ],
)
def test_each_door_is_closed_to_what_was_revoked_and_to_nothing_else(
    secure: Secure, act: Callable[[Scene], None], ended: frozenset[str]
) -> None:
    alice, bob = scene_of(secure, "alice"), scene_of(secure, "bob")
    for scene in (alice, bob):  # a one-time token is tried afterwards only, for it opens once
        for kind in set(KINDS) - {"one-time"}:
            assert closed(scene, kind) == set(), (scene.user, kind)
    act(alice)
    expected = {kind: set(alice.doors(kind)) if kind in ended else set() for kind in KINDS}
    for kind in set(KINDS) - {"one-time"}:
        until(partial(is_closed, alice, kind, expected[kind]), 5)
    assert closed(alice, "one-time") == expected["one-time"]  # a second try would be refused in any case
    assert {kind: closed(bob, kind) for kind in KINDS} == {kind: set() for kind in KINDS}


def is_closed(scene: Scene, kind: str, doors: set[str]) -> bool:
    return closed(scene, kind) == doors


def closed(scene: Scene, kind: str) -> set[str]:
    """The doors that a credential does not open."""
    found = set()
    for name, call in scene.doors(kind).items():
        try:
            call()
        except SlapError:
            found.add(name)
    return found


@pytest.mark.parametrize("act", [revoke_computer, revoke_user, give_computer_another_token])
def test_a_long_poll_in_flight_ends_without_news(secure: Secure, act: Callable[[Scene], None]) -> None:
    alice = scene_of(secure, "alice")
    revision = alice.node.api.desired_state(alice.node.guid).revision
    answers: list[object] = []

    def poll() -> None:
        try:
            answers.append(alice.node.api.desired_state(alice.node.guid, revision, 50))
        except SlapError as error:
            answers.append(error)

    waiting = threading.Thread(target=poll, daemon=True)
    waiting.start()
    time.sleep(0.5)  # it is on its way to the master
    act(alice)
    waiting.join(10)
    assert len(answers) == 1 and isinstance(answers[0], Unauthenticated), answers


def test_nothing_is_placed_on_a_computer_whose_credentials_were_revoked(secure: Secure) -> None:
    alice = scene_of(secure, "alice")
    revoke_computer(alice)
    wish = InstanceRequest(reference="second", software_release=alice.url)
    with pytest.raises(CannotBePlaced, match="no credentials since they were revoked"):
        alice.user.api.request(wish)
    alice.user.api.new_computer_token(alice.node.guid)
    assert alice.user.api.request(wish).partition == "slappart1"


def test_a_computer_that_registers_again_gets_other_tokens_for_its_partitions(secure: Secure) -> None:
    alice = scene_of(secure, "alice")
    before = alice.node.api.desired_state(alice.node.guid)
    revoke_computer(alice)
    again = secure.computer("alice-one", alice.user.token(guid=alice.node.guid), alice.node.guid)
    after = again.api.desired_state(again.guid, before.revision)
    assert [each.guid for each in after.instances] == [alice.instance]
    assert after.instances[0].token != before.instances[0].token
    assert after.instances[0].bang > before.instances[0].bang  # else its profile would keep the former one
    inside = Holder(secure, Credentials(after.instances[0].token, authority=secure.authority))
    assert inside.get(f"/api/v1/instances/{alice.instance}") == 200
    assert closed(alice, "partition") == set(alice.doors("partition"))
