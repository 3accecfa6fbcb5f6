"""The news of SlapOS: one line of text, of which the first word says whether it is good (#access) or bad (#error)."""

from datetime import UTC, datetime, timedelta

from slap.model.computer import Computer
from slap.model.instance import Instance
from slap.model.software import Supply
from slap.model.state import ReportedSupplyState, Status

News = dict[str, str]

# A node asks every minute at the least.
_LOST_AFTER = timedelta(minutes=5)
_GOOD, _BAD, _NEITHER = "#access", "#error", "#nodata"


def computer_news(computer: Computer, now: datetime | None = None) -> News:
    """Whether the node of a computer was heard of lately."""
    seen = computer.seen_at
    if seen is None:
        return _news(_NEITHER, f"{computer.title} has never contacted the master", computer.guid, None)
    is_lost = (now or datetime.now(UTC)) - seen > _LOST_AFTER
    text = f"{computer.title} contacted the master at {seen.isoformat(timespec='seconds')}"
    return _news(_BAD if is_lost else _GOOD, text + (", and not since" if is_lost else ""), computer.guid, seen)


def instance_news(instance: Instance) -> News:
    """What became of an instance: nothing is good news before its node saw it so."""
    if instance.software is ReportedSupplyState.ERROR and not instance.status.is_settled:
        words = instance.message or instance.software_message or "The software release could not be built"
        return _news(_BAD, words, instance.guid, instance.changed_at)
    return status_news(instance.status, instance.message, instance.guid, instance.changed_at)


def status_news(status: Status, message: str, reference: str, at: datetime) -> News:
    """The same of what nothing more is known of."""
    if status is Status.ERROR:
        return _news(_BAD, message or "The instance failed", reference, at)
    if status.is_settled:
        return _news(_GOOD, f"Instance correctly {status}", reference, at)
    return _news(_NEITHER, f"Instance is {status}", reference, at)


def supply_news(supply: Supply) -> News:
    """What became of a release on a computer."""
    mark = {ReportedSupplyState.ERROR: _BAD, ReportedSupplyState.AVAILABLE: _GOOD}.get(supply.reported, _NEITHER)
    words = supply.message if mark == _BAD else f"Software release is {supply.reported or 'waiting'}"
    return _news(mark if supply.is_current else _NEITHER, words, supply.url, supply.changed_at)


def _news(mark: str, words: str, reference: str, at: datetime | None) -> News:
    when = at.isoformat(timespec="seconds") if at else ""
    return {"text": f"{mark} {words}", "created_at": when, "since": when, "reference": reference, "user": "master"}
