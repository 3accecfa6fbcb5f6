"""The filters of an order as SlapOS writes them: a flat table of strings, and the same as an Sla."""

from collections.abc import Mapping

from slap.model.errors import InvalidInput
from slap.model.instance import Sla, Spread
from slap.model.resources.limits import read_limits

_COMPUTER = "computer_guid"
_NETWORK = "network_guid"
_INSTANCE = "instance_guid"
_CAPABILITY = "capability"
_MODE = "mode"
_RETENTION = "retention_delay"
_LIMIT = "limit_"  # before the names of limits
_OURS = frozenset({_COMPUTER, _NETWORK, _INSTANCE, _CAPABILITY, _MODE, _RETENTION})
# Written among the filters by masters that send orders on: it says who ordered, and filters nothing.
_SOURCE = "source_instance_id"


def sla_from_filters(filters: Mapping[str, object]) -> Sla:
    """What SlapOS's filters ask for; raises InvalidInput. Empty ones ask for nothing.

    A key that has no meaning here (region, group_id, project_guid, cpu_core, ...) is the name of a label that the computer
    must have with just this value: no filter is ever ignored.
    """
    words = {name: str(value).strip() for name, value in filters.items() if value is not None and str(value).strip()}
    return Sla(
        computer=words.get(_COMPUTER, ""),
        network=words.get(_NETWORK, ""),
        instance=words.get(_INSTANCE, ""),
        capabilities=frozenset(words.get(_CAPABILITY, "").replace(",", " ").split()),
        spread=_spread(words.get(_MODE, "")),
        retention=_days(words.get(_RETENTION, "0")),
        limits=read_limits(
            {name.removeprefix(_LIMIT): value for name, value in words.items() if name.startswith(_LIMIT)}
        ),
        labels={
            name: value
            for name, value in words.items()
            if name not in _OURS and name != _SOURCE and not name.startswith(_LIMIT)
        },
    )


def filters_from_sla(sla: Sla) -> dict[str, str]:
    """The same the other way round, as SlapOS's clients and nodes read it."""
    ours = {
        _COMPUTER: sla.computer,
        _NETWORK: sla.network,
        _INSTANCE: sla.instance,
        _CAPABILITY: " ".join(sorted(sla.capabilities)),
        _MODE: sla.spread.value,
        _RETENTION: f"{sla.retention:g}" if sla.retention else "",
    }
    limits = {f"{_LIMIT}{name}": str(value) for name, value in sla.limits.model_dump(exclude_none=True).items()}
    return {**sla.labels, **{name: value for name, value in ours.items() if value}, **limits}


def _spread(word: str) -> Spread:
    try:
        return Spread(word)
    except ValueError:
        known = ", ".join(each.value for each in Spread if each)
        raise InvalidInput(f"There is no mode {word!r} of placing instances.", f"There is: {known}.") from None


def _days(word: str) -> float:
    try:
        days = float(word)
    except ValueError:
        days = -1
    if 0 <= days < float("inf"):
        return days
    raise InvalidInput(f"{_RETENTION} is {word!r}.", "It is a number of days, such as 30 or 0.5.")
