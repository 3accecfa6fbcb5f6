"""Which protocol is spoken with which master, and what it costs to find out."""

from collections.abc import Mapping

import pytest

from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.model.errors import NotFound, Unreachable
from slap.system.transport import Reply
from tests.unit.client.proxy import LISTS, RECORDED, URL, Proxy


class Crowd:
    """Whoever listens at the master's address, one after the other."""

    def __init__(self, *masters: "Mapping[str, Reply] | Proxy | None") -> None:
        self.masters = list(masters)
        self.asked: list[str] = []

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        self.asked.append(url.removeprefix(URL).split("?")[0])
        now = self.masters[0]
        if now is None:
            raise Unreachable("Nobody listens.")
        if isinstance(now, Proxy):
            foreign = Reply(404, RECORDED["not ours"][1].encode())
            return foreign if "/api/v1" in url else now.send(method, url, headers, body, timeout)
        return now.get(url.removeprefix(URL).split("?")[0], _missing())

    def master(self) -> Master:
        return connect(URL, Credentials(), self)


def _missing() -> Reply:
    return Reply(404, NotFound("There is no such thing.").document().model_dump_json().encode())


OURS = {"/api/v1/instances": Reply(200, b"[]")}


def test_a_master_of_ours_is_asked_once() -> None:
    crowd = Crowd(OURS)
    assert crowd.master().instances() == []
    assert crowd.asked == ["/api/v1/instances"]


def test_what_a_master_of_ours_does_not_have_is_no_other_protocol() -> None:
    crowd = Crowd(OURS)
    with pytest.raises(NotFound):
        crowd.master().instance("INST-1")
    assert len(crowd.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504, 403, 429])
def test_a_server_in_front_that_fails_is_no_other_protocol(status: int) -> None:
    with pytest.raises(Unreachable, match=str(status)):
        Crowd({"/api/v1/instances": Reply(status, b"<html>Bad Gateway</html>")}).master().instances()


def test_slapproxy_refuses_one_request_and_is_known_from_then_on() -> None:
    crowd = Crowd(Proxy(LISTS))
    master = crowd.master()
    assert [each.reference for each in master.instances()] == ["web", "db", "off", "pooled"]
    master.computer("COMP-1")
    assert [path for path in crowd.asked if "/api/v1" in path] == ["/api/v1/instances"]


def test_after_a_master_was_away_another_one_may_have_come() -> None:
    crowd = Crowd(Proxy(LISTS), None, OURS)
    master = crowd.master()
    master.computer("COMP-1")
    crowd.masters.pop(0)
    with pytest.raises(Unreachable):
        master.instances()
    crowd.masters.pop(0)
    assert master.instances() == []


def test_what_is_not_asked_of_masters_is_not_there() -> None:
    with pytest.raises(AttributeError):
        _ = Crowd(OURS).master()._private  # type: ignore[attr-defined]


def test_all_that_can_be_asked_can_be_asked_of_a_master_of_ours() -> None:
    assert {name for name in vars(Master) if not name.startswith("_")} <= set(vars(NativeMaster))
