"""Where an instance goes: a pure decision over candidates."""

from collections.abc import Iterable
from dataclasses import dataclass

from slap.model.errors import CannotBePlaced
from slap.model.instance import Placement, Sla, Spread


@dataclass(frozen=True)
class Candidate:
    """A computer that an instance might be placed on; `is_supplied`: it has the release, or is to have it."""

    guid: str
    title: str
    free_partitions: int
    labels: dict[str, str]
    capabilities: frozenset[str]
    network: str
    is_supplied: bool = True
    is_revoked: bool = False  # nobody can speak for it: all of its credentials were revoked


@dataclass(frozen=True)
class Occupied:
    """Where the other instances of a tree are, from which one that is to be spread keeps away."""

    computers: frozenset[str] = frozenset()
    networks: frozenset[str] = frozenset()


NOWHERE = Occupied()


def sla_refusals(candidate: Candidate, sla: Sla, occupied: Occupied = NOWHERE) -> tuple[str, ...]:
    """Why a computer is not what was asked for; nothing when it is."""
    found = []
    if sla.computer and sla.computer not in (candidate.guid, candidate.title):
        found.append(f"is not {sla.computer}")
    if sla.network and sla.network != candidate.network:
        found.append(f"is in network {candidate.network or '(none)'}, not in {sla.network}")
    found += [_label_refusal(candidate, name, sla.labels[name]) for name in sorted(sla.labels)]
    found += [f"lacks capability {name}" for name in sorted(sla.capabilities - candidate.capabilities)]
    found.append(_spread_refusal(candidate, sla.spread, occupied))
    return tuple(words for words in found if words)


def judge(candidate: Candidate, sla: Sla, occupied: Occupied = NOWHERE) -> Placement:
    """What speaks against a candidate, as it is now."""
    refusals = list(sla_refusals(candidate, sla, occupied))
    if candidate.is_revoked:
        refusals.append("has no credentials since they were revoked")
    if not candidate.is_supplied:
        refusals.append("does not have the software release")
    if candidate.free_partitions < 1:
        refusals.append("has no free partition")
    return Placement(
        computer=candidate.guid,
        title=candidate.title,
        free_partitions=candidate.free_partitions,
        refusals=tuple(refusals),
    )


def rank(candidates: Iterable[Candidate], sla: Sla, occupied: Occupied = NOWHERE) -> list[Placement]:
    """All candidates: those that fit first, and of these the emptiest first, so that load spreads."""
    placements = [judge(candidate, sla, occupied) for candidate in candidates]
    return sorted(placements, key=lambda p: (bool(p.refusals), -p.free_partitions, p.computer))


def cannot_be_placed(reference: str, release: str, placements: Iterable[Placement]) -> CannotBePlaced:
    """The error that says why, candidate by candidate."""
    lines = [f"{p.title} ({p.computer}): {', '.join(p.refusals) or 'was filled up just now'}" for p in placements]
    return CannotBePlaced(
        f"No computer can take {reference}.",
        "\n".join(lines) or "There is no computer.",
        _next_step(lines, release),
    )


def _label_refusal(candidate: Candidate, name: str, wanted: str) -> str:
    has = candidate.labels.get(name)
    if has is None:
        return f"has no label {name}"
    return "" if has == wanted else f"has label {name}={has}, not {wanted}"


def _spread_refusal(candidate: Candidate, spread: Spread, occupied: Occupied) -> str:
    if spread is Spread.BY_COMPUTER and candidate.guid in occupied.computers:
        return "has another instance of this tree"
    if spread is not Spread.BY_NETWORK:
        return ""
    if not candidate.network:
        return "is in no network"
    return f"network {candidate.network} has another instance of this tree" * (candidate.network in occupied.networks)


def _next_step(lines: list[str], release: str) -> str:
    if not lines:
        return "Register one: slapos node register NAME."
    if any("does not have" in line for line in lines):
        return f"Supply the release to a computer that fits: slapos supply {release} COMPUTER."
    return "Ask for less, free a partition, or add partitions or a computer."
