"""Build the desired state of a computer from a SlapOS master's description, and diff two states.

The classic protocol has no revisions. Ours are digests of what was said: the same words have the same revision, whoever
asks and when. They are beyond all that our masters count, so that a node that changes its master is told everything.
"""

from hashlib import sha256

from slap.client.slapos.documents import ComputerDescription, PartitionDescription, SharedDescription
from slap.model.node import DesiredInstance, DesiredSharedInstance, DesiredState, DesiredSupply
from slap.model.state import InstanceState, SupplyState

FIRST_REVISION = 1 << 62


def complete_state(said: ComputerDescription) -> DesiredState:
    """Return the complete desired state, as for `since` = 0."""
    state = DesiredState(
        computer=said.guid,
        revision=0,
        since=0,
        supplies=tuple(_supply(url, state) for url, state in said.supplies.items()),
        instances=tuple(_instance(each) for each in said.partitions if not each.is_free),
        complete=tuple(each.name for each in said.partitions),
    )
    return state.model_copy(update={"revision": digest(state.model_dump_json())})


def diff_states(before: DesiredState | None, now: DesiredState, since: int) -> DesiredState:
    """What is to be told to who knows the revision `since`, which `before` is when it is still remembered."""
    if since < FIRST_REVISION:
        return now
    if since == now.revision:
        return DesiredState(computer=now.computer, revision=now.revision, since=since)
    if before is None or before.revision != since:
        return now.model_copy(update={"since": since})
    return _difference(before, now)


def digest(words: str) -> int:
    """A revision: a number that stands for what was said."""
    number = int.from_bytes(sha256(words.encode()).digest()[:8], "big")
    return FIRST_REVISION | (number & (FIRST_REVISION - 1))


def _difference(before: DesiredState, now: DesiredState) -> DesiredState:
    """Instances that are to go are told again with every change: a root is freed only after all that it requested."""
    supplies, known = set(before.supplies), {each.guid: each for each in before.instances}
    changed = [each for each in now.instances if known.get(each.guid) != each]
    going = [each for each in now.instances if each.state is InstanceState.DESTROYED and each not in changed]
    moved = {partition for partition, _ in _occupants(before) ^ _occupants(now)}
    return DesiredState(
        computer=now.computer,
        revision=now.revision,
        since=before.revision,
        supplies=tuple(each for each in now.supplies if each not in supplies),
        instances=(*changed, *going),
        complete=tuple(sorted(moved & set(now.complete))),
    )


def _occupants(state: DesiredState) -> set[tuple[str, str]]:
    return {(each.partition, each.guid) for each in state.instances}


def _supply(url: str, state: SupplyState) -> DesiredSupply:
    unnumbered = DesiredSupply(url=url, state=state, revision=0)
    return unnumbered.model_copy(update={"revision": digest(unnumbered.model_dump_json())})


def _instance(said: PartitionDescription) -> DesiredInstance:
    instance = DesiredInstance(
        guid=said.guid,
        partition=said.name,
        reference=said.title,
        root=said.guid if said.root_title == said.title else "",
        root_reference=said.root_title,
        software_release=said.release,
        software_type=said.software_type,
        parameters=said.values.plain,
        state=said.state,
        bang=_moment(said.timestamp),
        shared=tuple(_shared(each, said.root_title) for each in said.shared),
        token="",
    )
    return instance.model_copy(update={"revision": digest(instance.model_dump_json())})


def _shared(said: SharedDescription, root: str) -> DesiredSharedInstance:
    """Who requested it is not told; it is in the list as long as it shall be served."""
    shared = DesiredSharedInstance(
        guid=said.reference,
        reference=said.title,
        root_reference=root,
        software_type=said.software_type,
        parameters=said.values.plain,
        state=InstanceState.STARTED,
    )
    return shared.model_copy(update={"revision": digest(shared.model_dump_json())})


def _moment(timestamp: str) -> int:
    """A timestamp, which changes whenever the partition is to be processed again, as a number."""
    try:
        return int(float(timestamp) * 1_000_000)
    except (ValueError, OverflowError):
        return int.from_bytes(sha256(timestamp.encode()).digest()[:6], "big")
