"""TioXML, the journal of consumption that SlapOS's nodes send: a transaction for each day, a movement for each amount.

What it can say is the average of a day: CPU in percent of one CPU, memory and disk in MiB.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree import ElementTree

from slap.model.errors import InvalidInput
from slap.model.slapos.xml import parse_xml
from slap.model.usage import Usage, UsageSeries

_DAY = 86400
_MIB = 1 << 20
_CPU, _MEMORY, _DISK = "service_module/cpu_load_percent", "service_module/memory_used", "service_module/disk_used"
_TITLES = {_CPU: "CPU Load Percent Average", _MEMORY: "Used Memory", _DISK: "Partition Disk Used Average"}
_MAX_BYTES = 32 << 20
_MAX_ELEMENTS = 200_000  # a day of 6,000 partitions, with three amounts each
_LARGEST = 1e12


def write_journal(computer: str, day: datetime, series: Iterable[UsageSeries]) -> bytes:
    """The journal of one day (its first moment, in UTC); partitions are named as their users in SlapOS are."""
    journal = ElementTree.Element("journal")
    transaction = ElementTree.SubElement(journal, "transaction", type="Sale Packing List")
    date = day.strftime("%Y-%m-%d")
    _texts(
        transaction,
        title=f"Resource consumptions of {computer}",
        start_date=f"{date} 00:00:00",
        stop_date=f"{date} 23:59:59",
        reference=f"{date}-global",
        currency="",
        payment_mode="",
        category="",
    )
    ElementTree.SubElement(transaction, "arrow", type="Destination")
    for each in series:
        _add_movements(transaction, each)
    return bytes(ElementTree.tostring(journal, encoding="utf-8", xml_declaration=True))


def read_journal(text: str | bytes) -> dict[str, tuple[Usage, ...]]:
    """What a journal says, by the name of the partition (or user, or computer); raises InvalidInput."""
    found: defaultdict[str, list[Usage]] = defaultdict(list)
    try:
        for transaction in parse_xml(text, _MAX_BYTES, _MAX_ELEMENTS).iter("transaction"):
            for name, usage in _read_transaction(transaction):
                found[name].append(usage)
    except ValueError as error:
        raise _unreadable(str(error)) from error
    return {name: tuple(usages) for name, usages in found.items()}


def _texts(parent: ElementTree.Element, **values: str) -> None:
    for name, value in values.items():
        ElementTree.SubElement(parent, name).text = value


def _add_movements(transaction: ElementTree.Element, series: UsageSeries) -> None:
    if not series.slots:
        return
    seconds = sum(slot.seconds for slot in series.slots) or 1
    amounts = {
        _CPU: 100 * sum(slot.cpu for slot in series.slots) / seconds,
        _MEMORY: sum(slot.memory for slot in series.slots) / len(series.slots) / _MIB,
        _DISK: sum(slot.disk for slot in series.slots) / len(series.slots) / _MIB,
    }
    for resource, amount in amounts.items():
        movement = ElementTree.SubElement(transaction, "movement")
        texts = {"resource": resource, "title": _TITLES[resource], "reference": series.partition}
        _texts(movement, **texts, quantity=f"{amount:.6g}", price="0.0", VAT="", category="")


def _read_transaction(transaction: ElementTree.Element) -> list[tuple[str, Usage]]:
    start = datetime.strptime(transaction.findtext("start_date", ""), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    stop = datetime.strptime(transaction.findtext("stop_date", ""), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    seconds = min(max(1.0, (stop - start).total_seconds() + 1), _DAY)
    amounts: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for movement in transaction.iter("movement"):
        name, resource = movement.findtext("reference") or "", movement.findtext("resource") or ""
        amounts[name][resource] = _amount(movement.findtext("quantity") or "")
    return [(name, _usage(start, seconds, found)) for name, found in amounts.items() if name]


def _amount(text: str) -> float:
    """Raises ValueError for what nobody can have used: not a number, less than nothing, or more than there is."""
    amount = float(text)
    if not 0 <= amount < _LARGEST:
        raise ValueError(f"{text} is not an amount")
    return amount


def _usage(start: datetime, seconds: float, amounts: dict[str, float]) -> Usage:
    return Usage(
        start=start,
        seconds=seconds,
        cpu=amounts.get(_CPU, 0.0) * seconds / 100,
        memory=int(amounts.get(_MEMORY, 0.0) * _MIB),
        disk=int(amounts.get(_DISK, 0.0) * _MIB),
    )


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput(
        "The report of consumption cannot be read.", reason, "Send TioXML as `slapos node collect` writes."
    )
