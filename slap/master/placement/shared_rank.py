"""Which instance serves a shared one: a pure decision over candidates."""

from collections.abc import Sequence
from dataclasses import dataclass

from slap.master.placement.rank import NOWHERE, Candidate, Occupied, sla_refusals
from slap.model.errors import CannotBePlaced
from slap.model.instance import InstanceRequest, Placement
from slap.model.state import InstanceState

# So many candidates are named in an error.
_MOST_NAMED = 20


@dataclass(frozen=True)
class Host:
    """An instance of the wanted release that might serve shared ones, and the computer that it is on."""

    guid: str
    reference: str
    software_type: str
    requested: InstanceState
    serves: int
    computer: Candidate
    is_failing: bool = False


def unfit(host: Host, order: InstanceRequest, occupied: Occupied = NOWHERE) -> tuple[str, ...]:
    """Why an instance is not what was asked for, whatever its state."""
    found = []
    if order.sla.instance not in ("", host.guid):
        found.append(f"is not {order.sla.instance}")
    if host.software_type != order.software_type:
        found.append(f"is of type {host.software_type}, not {order.software_type}")
    refusals = sla_refusals(host.computer, order.sla, occupied)
    return (*found, *(f"its computer {host.computer.title} {words}" for words in refusals))


def judge_host(host: Host, order: InstanceRequest, occupied: Occupied = NOWHERE) -> Placement:
    """What speaks against an instance that might serve, as it is now."""
    refusals = list(unfit(host, order, occupied))
    if host.requested is not InstanceState.STARTED:
        refusals.append(f"is requested {host.requested}")
    return Placement(
        computer=host.computer.guid,
        title=host.reference,
        instance=host.guid,
        serves=host.serves,
        refusals=tuple(refusals),
    )


def rank_hosts(hosts: Sequence[Host], order: InstanceRequest, occupied: Occupied = NOWHERE) -> list[Placement]:
    """All candidates: those that fit first, of these those that do not fail, and of these the one that serves fewest."""
    failing = {host.guid: host.is_failing for host in hosts}
    placements = [judge_host(host, order, occupied) for host in hosts]
    return sorted(placements, key=lambda p: (bool(p.refusals), failing[p.instance], p.serves, p.instance))


def cannot_be_served(order: InstanceRequest, placements: list[Placement]) -> CannotBePlaced:
    """The error that says why, candidate by candidate."""
    named, left = placements[:_MOST_NAMED], len(placements) - _MOST_NAMED
    lines = [f"{p.title} ({p.instance}): {', '.join(p.refusals) or 'was destroyed just now'}" for p in named]
    lines += [f"and {left} more"] * (left > 0)
    return CannotBePlaced(
        f"No instance can serve {order.reference}.",
        "\n".join(lines) or f"There is no instance of {order.software_release}.",
        f"Order one that serves: slapos request NAME {order.software_release} --type {order.software_type}.",
    )
