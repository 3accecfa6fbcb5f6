"""Which instance serves a shared one, and why none does."""

import pytest

from slap.master.placement.rank import Candidate, Occupied
from slap.master.placement.shared_rank import Host, cannot_be_served, judge_host, rank_hosts
from slap.model.instance import InstanceRequest, Sla, Spread
from slap.model.state import InstanceState

PARIS = Candidate("COMP-1", "paris", 0, {"zone": "paris"}, frozenset(), "lan")


def _host(guid: str = "INST-1", serves: int = 0, **more: object) -> Host:
    fields: dict[str, object] = {"software_type": "default", "requested": InstanceState.STARTED, "computer": PARIS}
    return Host(guid=guid, reference=guid.lower(), serves=serves, **{**fields, **more})  # type: ignore[arg-type]


def _order(sla: Sla = Sla(), software_type: str = "default") -> InstanceRequest:  # noqa: B008
    return InstanceRequest(
        reference="page", software_release="/r.cfg", software_type=software_type, shared=True, sla=sla
    )


@pytest.mark.parametrize(
    ("host", "order", "refusals"),
    [
        (_host(), _order(), ()),
        (_host(), _order(Sla(instance="INST-1", computer="paris", labels={"zone": "paris"})), ()),
        (_host(), _order(Sla(instance="INST-2")), ("is not INST-2",)),
        (_host(), _order(software_type="other"), ("is of type default, not other",)),
        (_host(requested=InstanceState.STOPPED), _order(), ("is requested stopped",)),
        (_host(requested=InstanceState.DESTROYED), _order(), ("is requested destroyed",)),
        (_host(), _order(Sla(computer="rome")), ("its computer paris is not rome",)),
        (
            _host(),
            _order(Sla(spread=Spread.BY_COMPUTER)),
            ("its computer paris has another instance of this tree",),
        ),
    ],
)
def test_a_host_is_refused_for_each_thing_that_it_is_not(
    host: Host, order: InstanceRequest, refusals: tuple[str, ...]
) -> None:
    occupied = Occupied(frozenset({"COMP-1"}), frozenset())
    assert judge_host(host, order, occupied).refusals == refusals


def test_those_that_do_not_fail_come_first_then_those_that_serve_fewest() -> None:
    hosts = [_host("A", 5), _host("B", 2), _host("C", is_failing=True), _host("D", 2), _host("E", software_type="x")]
    assert [each.instance for each in rank_hosts(hosts, _order())] == ["B", "D", "A", "C", "E"]


def test_an_order_that_nobody_serves_says_why_for_the_first_twenty() -> None:
    hosts = [_host(f"INST-{number:02}", software_type="x") for number in range(30)]
    error = cannot_be_served(_order(), rank_hosts(hosts, _order()))
    lines = error.details.splitlines()
    assert lines[0] == "inst-00 (INST-00): is of type x, not default"
    assert (len(lines), lines[-1]) == (21, "and 10 more")
    assert "slapos request NAME /r.cfg --type default" in error.resolution
    assert cannot_be_served(_order(), []).details == "There is no instance of /r.cfg."
