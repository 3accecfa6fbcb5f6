"""What a tenant may pile up in the master, and what is made of it when somebody looks."""

from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import requests

from slap.master.access.settings import AccessSettings
from slap.master.database.pages import BATCH_BYTES
from slap.master.database.quota import QuotaSettings
from slap.master.database.text import did_you_mean, similar_urls
from slap.master.service.history import MAX_HISTORY_SIZE
from slap.master.slaptool.forms import _decoded
from slap.model.errors import ErrorDocument, QuotaExceeded, TooMany, from_document
from slap.model.node import InstanceReport, LogAnswer, NodeReport, SupplyReport
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from tests.contract.master.world import Node, World, order, serving, until

pytestmark = pytest.mark.sql


class Counted(str):
    """A text that counts how often it is taken apart."""

    looks = 0

    def split(self, *args: object) -> list[str]:
        type(self).looks += 1
        return super().split("/")


def test_few_of_many_urls_are_compared_with_one_that_is_unknown() -> None:
    known = [Counted(f"/folder/{'a' * 150}{number}/software.cfg") for number in range(1000)]
    similar_urls(f"/folder/{'a' * 150}x/software.cfg", known)
    assert 0 < Counted.looks <= 30


@pytest.mark.parametrize("word", ["x" * 2000, "ab" * 1000])
def test_nothing_is_guessed_for_a_name_that_nobody_types(word: str) -> None:
    assert did_you_mean(word, [word, word]) == ""
    assert similar_urls(word, [word]) == []


def test_a_slip_is_still_found_among_many() -> None:
    known = [f"/folder/{number}/other.cfg" for number in range(500)] + ["/folder/wordpress/software.cfg"]
    assert similar_urls("/folder/wordpres/software.cfg", known) == ["/folder/wordpress/software.cfg"]


@pytest.mark.parametrize("form", [b"a=%", b"a=%4", b"a=%zz", b"%=1", b"&".join([b"a=1"] * 101)])
def test_a_form_that_is_none_is_refused(form: bytes) -> None:
    with pytest.raises(ValueError, match=r"It has more|A % is not"):
        _decoded(form)


def test_a_form_has_what_url_encoding_stands_for() -> None:
    assert _decoded(b"a=%41%0A+b%3D=c&b=&&c") == {"a": "A\n b==c", "b": "", "c": ""}


def test_the_oldest_requests_of_a_long_history_go(world: World) -> None:
    wanted = order(world.supplied(world.computer(partitions=1)), "one")
    for number in range(6):
        parameters = {"n": number, "a": "x" * (MAX_HISTORY_SIZE // 4)}
        guid = world.admin.request(wanted.model_copy(update={"parameters": parameters})).guid
    entries = world.admin.history(guid)
    assert [entry.number for entry in entries] == [3, 4, 5, 6]
    assert [change.after for change in entries[-1].changes] == ["5"]


def test_of_a_request_that_changes_all_some_changes_are_told(world: World) -> None:
    wanted = order(world.supplied(world.computer(partitions=1)), "one")
    guid = world.admin.request(wanted).guid
    world.admin.request(wanted.model_copy(update={"parameters": {f"a{number}": number for number in range(1500)}}))
    changes = world.admin.history(guid)[-1].changes
    assert (len(changes), changes[-1].field) == (1001, "500 more fields")


def test_a_list_of_supplies_has_the_ends_of_their_logs(world: World) -> None:
    node = world.computer(partitions=1)
    url = world.supplied(node)
    log = "begin" + "x" * 5000 + "end"
    report = SupplyReport(url=url, revision=1, state=ReportedSupplyState.ERROR, message="no", log=log)
    node.api.report(node.guid, NodeReport(supplies=(report,)))
    (listed,), (asked,) = world.admin.supplies(node.guid), world.admin.supplies(node.guid, url)
    assert (len(listed.log), listed.log[-3:], asked.log) == (2000, "end", log)


def test_few_wait_for_the_logs_of_one_computer(world: World) -> None:
    """Each may bring a MiB. Those that nobody waits for any more are forgotten with what came for them."""
    node = world.computer(partitions=1)
    guid = world.admin.request(order(world.supplied(node), "one")).guid
    waiting = [Thread(target=_ask_for_logs, args=(world, guid)) for _ in range(20)]
    for thread in waiting:
        thread.start()
    until(lambda: len(node.api.desired_state(node.guid).logs) == 20)
    with pytest.raises(TooMany):
        world.admin.logs(guid)
    asked = node.api.desired_state(node.guid).logs
    node.api.report(node.guid, NodeReport(logs=tuple(LogAnswer(id=each.id, text="x") for each in asked)))
    for thread in waiting:
        thread.join()
    assert node.api.desired_state(node.guid).logs == ()


def _ask_for_logs(world: World, guid: str) -> None:
    assert world.speaking(world.token.removeprefix("Bearer ")).logs(guid) == "x"


def _large_instances(world: World, count: int) -> Node:
    """A computer with so many instances of several batches each."""
    node = world.computer(partitions=count)
    url = world.supplied(node)
    for number in range(count):
        parameters = {"a": "x" * BATCH_BYTES, "instances": []}
        world.admin.request(order(url, f"service{number}", parameters=parameters))
    return node


def test_long_lists_are_sent_whole(world: World) -> None:
    node = _large_instances(world, 5)
    references = [f"service{number}" for number in range(5)]
    listed = world.admin.instances()
    assert [each.reference for each in listed] == references
    state = node.api.desired_state(node.guid)
    assert [each.reference for each in state.instances] == references
    assert {len(each.parameters["a"]) for each in listed} == {BATCH_BYTES}
    assert {len(each.parameters["a"]) for each in state.instances} == {BATCH_BYTES}
    tree = world.admin.tree(listed[0].guid)
    assert [each.guid for each in tree.instances] == [listed[0].guid]


def test_long_lists_come_in_pieces(world: World) -> None:
    node = _large_instances(world, 5)
    of_node = f"Bearer {world.admin.new_computer_token(node.guid).token}"
    for path, token in (
        ("/api/v1/instances", world.token),
        (f"/api/v1/computers/{node.guid}/state", of_node),
        (f"/getFullComputerInformation?computer_id={node.guid}", world.token),
    ):
        answer = requests.get(f"{world.address}{path}", headers={"Authorization": token}, stream=True, timeout=20)
        assert answer.status_code == 200
        assert answer.headers.get("transfer-encoding") == "chunked"
        pieces = [len(piece) for piece in answer.raw.read_chunked()]
        assert max(pieces) < 2 * BATCH_BYTES
        assert sum(pieces) > 5 * BATCH_BYTES


def _quotas(**limits: int) -> AccessSettings:
    return AccessSettings(quotas=QuotaSettings(**limits))


def test_a_user_has_so_many_instances_and_so_much_in_them(fresh_database: str, tmp_path: Path) -> None:
    with serving(fresh_database, access=_quotas(quota_instances=2, quota_bytes=1000)) as address:
        world = World(address, fresh_database, tmp_path)
        url = world.supplied(world.computer(partitions=3))
        one = order(url, "one")
        world.admin.request(one)
        world.admin.request(one.model_copy(update={"parameters": {"a": "x" * 900}}))
        with pytest.raises(QuotaExceeded, match="1000 bytes of parameters"):
            world.admin.request(order(url, "two", parameters={"a": "x" * 100}))
        with pytest.raises(QuotaExceeded, match="1000 bytes"):
            world.admin.request(one.model_copy(update={"parameters": {"a": "x" * 1100}}))
        world.admin.request(order(url, "two"))
        with pytest.raises(QuotaExceeded, match="admin may have 2 instances"):
            world.admin.request(order(url, "three"))
        refused = requests.get(f"{address}/health", timeout=20).json()["refused"]
        assert refused == {"quota_instances": 1, "quota_bytes": 2}


def test_what_an_instance_publishes_counts(fresh_database: str, tmp_path: Path) -> None:
    with serving(fresh_database, access=_quotas(quota_bytes=1000)) as address:
        world = World(address, fresh_database, tmp_path)
        node = world.computer(partitions=1)
        guid = world.admin.request(order(world.supplied(node), "one")).guid
        report = InstanceReport(guid=guid, state=ReportedInstanceState.STARTED, connection={"a": "x" * 2000})
        with pytest.raises(QuotaExceeded):
            node.report(report)
        node.report(report.model_copy(update={"connection": {"a": "x"}}))
        assert world.admin.instance(guid).connection == {"a": "x"}


def _registration_token(world: World) -> None:
    headers = {"Authorization": world.token}
    answer = requests.post(f"{world.address}/api/v1/registration-tokens", json={}, headers=headers, timeout=20)
    if answer.status_code != 200:
        raise from_document(ErrorDocument.model_validate(answer.json()))


@pytest.mark.parametrize("quota", ["quota_computers", "quota_supplies", "quota_registration_tokens"])
def test_a_user_has_so_many(fresh_database: str, tmp_path: Path, quota: str) -> None:
    with serving(fresh_database, access=_quotas(**{quota: 2})) as address:
        world = World(address, fresh_database, tmp_path)
        node = world.computer("node")
        makers: dict[str, Callable[[int], object]] = {
            "quota_computers": lambda number: world.computer(f"node{number}") if number else node,
            "quota_supplies": lambda number: world.supplied(node, name=f"release{number}"),
            "quota_registration_tokens": lambda _: _registration_token(world),
        }
        for number in range(2):
            makers[quota](number)
        with pytest.raises(QuotaExceeded):
            makers[quota](2)
