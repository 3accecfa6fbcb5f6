"""What a tenant may pile up in the master, and what is made of it when somebody looks."""

from threading import Thread

import pytest

from slap.master.database.text import did_you_mean, similar_urls
from slap.master.facade.slap_tool_form import _decoded
from slap.master.history import MAX_HISTORY_SIZE
from slap.model.errors import TooMany
from slap.model.node import LogAnswer, NodeReport, SupplyReport
from slap.model.state import ReportedSupplyState
from tests.contract.master.world import World, order, until

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
