"""Whoever serves a release, or names one, against the master that reads it."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from slap.client.credentials import Credentials
from slap.client.master import Master
from slap.master.release.settings import ReleaseSettings
from slap.model.computer import ComputerRegistration
from slap.model.errors import BrokenRelease, InvalidInput, NotFound, SlapError, TooMany, Unreachable
from slap.model.software import SupplyRequest
from slap.system import environment
from slap.system.network.address_policy import AddressPolicy
from slap.system.network.netlink import KernelNetwork
from slap.system.transport import HttpTransport
from tests.contract.conftest import copied
from tests.contract.master.hostile_server import (
    Attack,
    body,
    bomb,
    document,
    dripping,
    endless,
    redirect,
    serving,
    silent,
)  # fmt: skip
from tests.contract.master.secure import Holder, secure_master
from tests.contract.master.world import World, until
from tests.contract.master.world import serving as serving_master
from tests.system.namespaces import a_namespace

PROFILE = "/release/software.cfg"
GOOD: dict[str, Attack] = {PROFILE: body(b"[buildout]\n")}
ONE_TYPE = {"software-type": {"default": {"request": "in.json"}}}
OK = b"HTTP/1.1 200 OK\r\n"
LIMITS: dict[str, Any] = {"release_max_bytes": 256 << 10, "release_max_files": 8}
SETTINGS = ReleaseSettings(release_networks=("127.0.0.2/32",), release_readers=2, release_queue=2, **LIMITS)


def types(number: int) -> dict[str, Any]:
    return {"software-type": {f"t{each}": {"request": f"in{each}.json"} for each in range(number)}}


def described(value: object, **schemas: Attack) -> dict[str, Attack]:
    """A release with this description, and schemas by their names."""
    files = {f"/release/{name}.json": attack for name, attack in schemas.items()}
    return GOOD | {f"{PROFILE}.json": document(value)} | files


def schema(attack: Attack) -> dict[str, Attack]:
    return described(ONE_TYPE, **{"in": attack})


def supply(master: Master, url: str) -> None:
    master.supply(SupplyRequest(url=url, computer="one"))


@contextmanager
def world_of(database: str, folder: Path, settings: ReleaseSettings = SETTINGS) -> Iterator[World]:
    """A master that reads releases from 127.0.0.2 and from the folder `releases`, and nowhere else."""
    here = settings.model_copy(update={"release_folders": (folder / "releases",)})
    with serving_master(database, here) as address:
        made = World(address, database, folder)
        made.computer()
        yield made


@pytest.fixture(scope="module")
def world(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hostile")
    with world_of(copied(empty_sqlite, folder), folder) as made:
        yield made


CHAIN = {f"f{number}": document({"properties": {"a": {"$ref": f"f{number + 1}.json"}}}) for number in range(20)}
SLOW: list[tuple[str, dict[str, Attack]]] = [
    ("a body that drips", {PROFILE: dripping(OK + b"Content-Length: 9999\r\n\r\n")}),
    ("headers that drip", {PROFILE: dripping(OK + b"X: ")}),
    ("an answer that never comes", {PROFILE: silent}),
    ("a schema that drips", schema(dripping(OK + b"\r\n{"))),
]  # fmt: skip
ATTACKS: list[tuple[str, dict[str, Attack], type[SlapError], str]] = [
    ("a body without end", {PROFILE: endless(OK + b"\r\n", b"x" * 9999)}, InvalidInput, "more than 262144 bytes"),
    ("a header without end", {PROFILE: endless(OK + b"X: ", b"x" * 9999)}, SlapError, ""),
    ("headers without end", {PROFILE: endless(OK, b"X: y\r\n" * 999)}, SlapError, ""),
    ("100 Continue for ever", {PROFILE: endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99)}, SlapError, ""),
    ("a chunk's size without end", {PROFILE: endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 9999)},
     SlapError, ""),
    ("a body of gzip that grows", {PROFILE: bomb(64 << 20)}, InvalidInput, "more than 262144 bytes"),
    ("a schema of gzip that grows", schema(bomb(64 << 20)), InvalidInput, "more than 262144 bytes"),
    ("less than was announced", {PROFILE: body(b"[buildout]", length=100)}, Unreachable, ""),
    ("redirects in a circle", {PROFILE: redirect("{}" + PROFILE)}, Unreachable, "redirects"),
    ("a redirect to a file", {PROFILE: redirect("file:///etc/passwd")}, Unreachable, ""),
    ("a redirect with a body without end",
     {PROFILE: endless(b"HTTP/1.1 302 F\r\nLocation: /x\r\n\r\n", b"x" * 9999)}, NotFound, "answered 404"),
    ("an error with a body without end", {PROFILE: endless(b"HTTP/1.1 500 F\r\n\r\n", b"x" * 9999)}, NotFound, "500"),
    ("a redirect to this computer", {PROFILE: redirect("http://127.0.0.1:1/")}, InvalidInput, "not public"),
    ("a schema elsewhere", schema(redirect("http://169.254.169.254/latest/")), InvalidInput, "not public"),
    ("a description elsewhere", GOOD | {f"{PROFILE}.json": redirect("http://[fd00:ec2::254]/")}, InvalidInput,
     "not public"),
    ("many files", described(types(50), **{f"in{n}": document({}) for n in range(50)}), InvalidInput, "than 8 files"),
    ("many large files", described(types(5), **{f"in{n}": document({"title": "x" * 60_000}) for n in range(5)}),
     InvalidInput, "more than 262144 bytes"),
    ("one large file for many types",
     described({"software-type": {f"t{n}": {"request": "in.json"} for n in range(90)}},
               **{"in": document({"title": "x" * 60_000})}), BrokenRelease, "counts for each"),
    ("a large description", GOOD | {f"{PROFILE}.json": document({"name": "x" * 300_000})}, InvalidInput, "bytes"),
    ("many values", schema(body(b'{"enum":[' + b"[]," * 80_000 + b"1]}")), BrokenRelease, "50000 values"),
    ("deep nesting", schema(body(b'{"a":' * 500 + b"1" + b"}" * 500)), BrokenRelease, "64 levels"),
    ("very deep nesting", schema(body(b"[" * 40_000 + b"]" * 40_000)), BrokenRelease, "64 levels"),
    ("a number of 5,000 digits", schema(body(b'{"maximum":' + b"9" * 5000 + b"}")), BrokenRelease, "digits"),
    ("a number that is none", schema(body(b'{"maximum":NaN}')), BrokenRelease, "not a number"),
    ("files that refer to files", described({"software-type": {"a": {"request": "f0.json"}}}, **CHAIN), InvalidInput,
     "than 8 files"),
    ("definitions that are none", schema(document({"$defs": [], "$ref": "b.json"})), SlapError, ""),
    ("a reference that is no address", schema(document({"$ref": "//["})), BrokenRelease, "beside each other"),
    ("a reference to another server", schema(document({"$ref": "//127.0.0.1/x"})), BrokenRelease, "beside each other"),
    ("JSON that is no schema", schema(document(["secret"])), BrokenRelease, "not an object"),
    ("half a character", GOOD | {f"{PROFILE}.json": body(b'{"name": "\\ud800"}')}, BrokenRelease, "cannot be stored"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "kind", "details"), [each[1:] for each in ATTACKS], ids=[each[0] for each in ATTACKS]
)
def test_a_server_gains_nothing(world: World, files: dict[str, Attack], kind: type[SlapError], details: str) -> None:
    with serving(files) as server, pytest.raises(kind) as caught:
        supply(world.admin, f"{server.url}{PROFILE}")
    assert details in caught.value.details
    assert caught.value.http_status < 500 or kind is Unreachable or isinstance(caught.value, Unreachable)
    assert (world.admin.supplies(), world.admin.releases()) == ([], [])


@pytest.fixture(scope="module")
def hasty(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hasty")
    settings = SETTINGS.model_copy(update={"release_seconds": 0.5})
    with world_of(copied(empty_sqlite, folder), folder, settings) as made:
        yield made


@pytest.mark.parametrize("files", [each[1] for each in SLOW], ids=[each[0] for each in SLOW])
def test_all_of_a_release_has_one_deadline(hasty: World, files: dict[str, Attack]) -> None:
    with serving(files) as server, pytest.raises(Unreachable, match="cannot be read") as caught:
        supply(hasty.admin, f"{server.url}{PROFILE}")
    assert "within 0.5 seconds" in caught.value.details
    assert hasty.admin.releases() == []


def test_who_drips_keeps_nobody_else_waiting(world: World) -> None:
    world.computer("hers", owner=world.user("alice"))
    refused: list[SlapError] = []

    def supply_slowly(alice: Master, url: str) -> None:
        try:
            alice.supply(SupplyRequest(url=url, computer="hers"))
        except SlapError as error:
            refused.append(error)

    with serving(GOOD | {"/drip/software.cfg": dripping(OK + b"\r\n")}) as server:
        slow = f"{server.url}/drip/software.cfg"
        threads = [threading.Thread(target=supply_slowly, args=(world.user("alice"), slow)) for _ in range(7)]
        for each in threads:
            each.start()
        until(lambda: len(refused) == 3)  # two are read, two wait
        bob = world.user("bob")
        world.computer("his", owner=bob)
        bob.supply(SupplyRequest(url=f"{server.url}{PROFILE}", computer="his"))
        assert [type(each) for each in refused] == [TooMany] * 3
        assert server.asked.count("/drip/software.cfg") == 2
        server.released.set()
        for each in threads:
            each.join()


ELSEWHERE = [
    "http://127.0.0.1:{0}/x", "http://localhost:{0}/x", "http://127.1:{0}/x", "http://2130706433:{0}/x",
    "http://0x7f000001:{0}/x", "http://0177.0.0.1:{0}/x", "http://0.0.0.0:{0}/x", "http://[::1]:{0}/x",
    "http://[::ffff:127.0.0.1]:{0}/x", "http://[64:ff9b::7f00:1]:{0}/x", "http://[2002:7f00:1::]:{0}/x",
    "http://[fe80::1%25lo]:{0}/x", "http://user:word@127.0.0.1:{0}/x", "http://127.0.0.1.:{0}/x",
    "http://169.254.169.254/latest", "http://[fd00:ec2::254]/latest", "http://100.64.0.1/x", "http://224.0.0.1/x",
]  # fmt: skip


def refusal(master: Master, url: str) -> tuple[str, str, str]:
    """What is said about it, without the URL and the host."""
    with pytest.raises((InvalidInput, NotFound)) as caught:
        supply(master, url)
    error = caught.value
    return type(error).__name__, error.details, error.resolution


def test_no_place_of_the_network_of_the_master_is_asked(world: World) -> None:
    with serving({}, "127.0.0.1") as inner, closing(socket.create_server(("127.0.0.1", 0))) as closed:
        port, unused = inner.server_address[1], closed.getsockname()[1]
        closed.close()
        said = {url: refusal(world.admin, url.format(port)) for url in ELSEWHERE}
        said |= {f"unused {url}": refusal(world.admin, url.format(unused)) for url in ELSEWHERE[:1]}
        said["unknown"] = refusal(world.admin, "http://no-such-host.invalid/x")
        assert inner.asked == []
    assert set(said.values()) == {said["unknown"]}, said


@pytest.mark.parametrize(
    "url", ["http://[::1/x", "http://[x]/x", "http://:99999/x", "http://a b/x", "gopher://a/x", "//"]
)
def test_what_is_no_url_is_refused_in_words(world: World, url: str) -> None:
    with pytest.raises((InvalidInput, NotFound, Unreachable)):
        supply(world.admin, url)


def in_folder(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "software.cfg").write_text("[buildout]\n")
    (folder / "software.cfg.json").write_text(json.dumps(ONE_TYPE))


def linked(name: str, target: str) -> Callable[[Path], object]:
    """A link in the place of a file of the release."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder.parent.parent / target)

    return damage


def made(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made_socket:
        made_socket.bind(os.path.relpath(path))


def moved(folder: Path) -> None:
    """The folder of the release is elsewhere, and a link in its place."""
    folder.symlink_to(folder.rename(folder.parent.parent / "moved"))


FILES: dict[str, Callable[[Path], object]] = {
    "a schema is a link to a secret": linked("in.json", "secret.json"),
    "a schema is a link to nothing": linked("in.json", "no-secret.json"),
    "the profile is a link to a secret": linked("software.cfg", "secret.json"),
    "the profile is a link to a device": linked("software.cfg", "/dev/zero"),
    "a schema is a pipe": made("in.json", os.mkfifo),
    "the profile is a pipe": made("software.cfg", os.mkfifo),
    "the profile is a socket": made("software.cfg", socket_at),
    "a schema is a folder": made("in.json", Path.mkdir),
    "a schema is above the folder": lambda folder: (folder / "software.cfg.json").write_text(
        json.dumps({"software-type": {"a": {"request": "../../secret.json"}}})
    ),
    "the folder is a link": moved,
}


def test_no_file_is_read_that_is_not_a_regular_one_below_the_folders(world: World) -> None:
    (world.folder / "secret.json").write_text('{"title": "secret"}')
    said = {}
    for number, (name, damage) in enumerate(FILES.items()):
        folder = world.folder / f"releases/r{number}"
        in_folder(folder)
        damage(folder)
        said[name] = refusal(world.admin, str(folder))
    for name in ("/etc/hostname/x.cfg", "/etc/no-such-file.cfg", "file:///etc/shadow", f"{world.folder}/secret.cfg"):
        said[name] = refusal(world.admin, name)
    assert set(said.values()) == {said["/etc/no-such-file.cfg"]}, said
    assert world.admin.releases() == []
    in_folder(world.folder / "releases/good")
    (world.folder / "releases/good/in.json").symlink_to("common.json")
    (world.folder / "releases/good/common.json").write_text('{"title": "good"}')
    supply(world.admin, str(world.folder / "releases/good"))
    assert world.admin.releases()[0].types["default"].parameters_schema == {"title": "good"}


@pytest.fixture
def own(empty_sqlite: Path, tmp_path: Path) -> Iterator[Holder]:
    """A master that is open to this machine, and its user."""
    settings: dict[str, Any] = {"tls": "off", "open_to_this_machine": True, "release_folders": (), **LIMITS}
    with secure_master(copied(empty_sqlite, tmp_path), tmp_path, **settings) as master:
        holder = Holder(master, Credentials())
        holder.api.register_computer(ComputerRegistration(title="one"))
        yield holder


def test_the_user_of_the_master_names_what_it_reads_itself(own: Holder, tmp_path: Path) -> None:
    in_folder(tmp_path / "release")
    (tmp_path / "release/in.json").write_text("{}")
    with_token = own.secure.user("admin").api
    with serving(GOOD, "127.0.0.1") as server:
        for master in (own.api, with_token):
            supply(master, str(tmp_path / "release"))
            supply(master, f"{server.url}{PROFILE}")
    os.mkfifo(tmp_path / "release/pipe.cfg")
    with pytest.raises(InvalidInput) as caught:
        supply(own.api, str(tmp_path / "release/pipe.cfg"))
    assert "not a regular file" in caught.value.details


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Via", "Origin"])
def test_who_comes_by_a_proxy_is_not_the_user_of_the_master(own: Holder, tmp_path: Path, header: str) -> None:
    in_folder(tmp_path / "release")
    body_of_request = json.dumps({"url": str(tmp_path / "release"), "computer": "one"}).encode()
    headers = {"Authorization": f"Bearer {own.secure.user('admin').credentials.token}", header: "192.0.2.1",
               "Content-Type": "application/json"}  # fmt: skip
    reply = HttpTransport().send("PUT", f"{own.secure.url}/api/v1/supplies", headers, body_of_request, 20)
    assert (reply.status, b"where files may be read" in reply.body) == (404, True)


def test_a_master_for_many_takes_nobody_for_its_own_user(empty_sqlite: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"tls": "off", "release_folders": ()}
    in_folder(tmp_path / "release")
    with secure_master(copied(empty_sqlite, tmp_path), tmp_path, **settings) as master:
        alice = master.user("alice").api
        alice.register_computer(ComputerRegistration(title="one"))
        assert "where files may be read" in refusal(alice, str(tmp_path / "release"))[1]


if environment.is_root():

    def test_public_addresses_of_this_computer_are_not_asked() -> None:
        public = ("9.9.9.9", "2620:fe::fe", "64:ff9b::909:909")
        with a_namespace() as namespace, namespace.inside():
            assert [AddressPolicy().allows(address) for address in public] == [True] * 3
            KernelNetwork().add("lo", "9.9.9.9/32")
            KernelNetwork().add("lo", "2620:fe::fe/128")
            # The kernel has its route to a new IPv6 address a moment later.
            until(lambda: [AddressPolicy().allows(address) for address in public] == [False] * 3)
