"""Orders of the classic protocol, as the master's own services take them."""

from slap.master.slaptool.forms import Fields
from slap.model.errors import InvalidInput
from slap.model.instance import InstanceRequest
from slap.model.serialisation import unwrap
from slap.model.sla_filters import sla_from_filters
from slap.model.software import DEFAULT_TYPE, SupplyRequest
from slap.model.state import InstanceState, SupplyState


def order_of(asked: Fields) -> InstanceRequest:
    """What requestComputerPartition asks for; nothing said is `started` and the default type."""
    parameters, form = unwrap(asked.table("partition_parameter_xml"))
    return InstanceRequest(
        reference=asked["partition_reference"],
        software_release=asked.get("software_release"),
        software_type=asked.get("software_type") or DEFAULT_TYPE,
        parameters=parameters,
        serialisation=form,
        state=_instance_state(str(asked.value("state") or "")),
        sla=sla_from_filters(asked.table("filter_xml")),
        shared=bool(asked.value("shared_xml", False)),
    )


def supply_of(asked: Fields) -> SupplyRequest:
    word = asked.get("state") or SupplyState.AVAILABLE
    if word not in list(SupplyState):
        raise _no_state(word, ", ".join(SupplyState))
    return SupplyRequest(url=asked["url"], computer=asked["computer_id"], state=SupplyState(word))


def _instance_state(word: str) -> InstanceState:
    if not word:
        return InstanceState.STARTED
    if word not in list(InstanceState):
        raise _no_state(word, ", ".join(InstanceState))
    return InstanceState(word)


def _no_state(word: str, known: str) -> InvalidInput:
    return InvalidInput(f"There is no state {word[:60]!r}.", f"There is: {known}.", "Ask for one of these.")
