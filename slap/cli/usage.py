"""What instances use, in words, numbers and small bars."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from slap.cli.output import columns
from slap.cli.sparkline import sparkline
from slap.model.usage import Usage, UsageSeries, total

# So many of the latest half hours are drawn: half a day fits beside the numbers.
_DRAWN = 24
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")

_ROWS: tuple[tuple[str, Callable[[Usage], float], Callable[[float], str]], ...] = (
    ("cpu", lambda slot: slot.load, lambda value: f"{100 * value:.1f} %"),
    ("memory", lambda slot: slot.memory, lambda value: size(value)),
    ("disk", lambda slot: slot.disk, lambda value: size(value)),
    ("read", lambda slot: _rate(slot.read, slot), lambda value: f"{size(value)}/s"),
    ("written", lambda slot: _rate(slot.written, slot), lambda value: f"{size(value)}/s"),
    ("received", lambda slot: _rate(slot.received, slot), lambda value: f"{size(value)}/s"),
    ("sent", lambda slot: _rate(slot.sent, slot), lambda value: f"{size(value)}/s"),
)


def usage_text(slots: Sequence[Usage]) -> str:
    """A paragraph: each amount as it is now, and how it was; empty when nothing is known."""
    if not slots:
        return ""
    drawn = slots[-_DRAWN:]
    since = drawn[0].start.strftime("%d %b %H:%M UTC")
    rows = [(name, _row([amount(slot) for slot in drawn], words)) for name, amount, words in _ROWS]
    return f"Usage since {since}, a bar for each half hour\n" + columns(rows)


def computer_usage(series: Iterable[UsageSeries]) -> Iterator[str]:
    """What all partitions use together, and those that use most."""
    known = [each for each in series if each.slots]
    if known:
        yield usage_text(total(tuple(each.slots for each in known)))
        busiest = sorted(known, key=lambda each: each.slots[-1].load, reverse=True)[:10]
        yield "Busiest\n" + columns((each.reference or each.partition, _brief(each.slots)) for each in busiest)


def size(amount: float) -> str:
    """Bytes in the unit that people read them in."""
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            break
        amount /= 1024
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def _rate(amount: float, slot: Usage) -> float:
    return amount / slot.seconds if slot.seconds else 0.0


def _row(values: Sequence[float], words: Callable[[float], str]) -> str:
    return f"{words(values[-1]):>12}  {sparkline(values)}"


def _brief(slots: Sequence[Usage]) -> str:
    loads = [slot.load for slot in slots[-_DRAWN:]]
    last = slots[-1]
    return f"{100 * last.load:>6.1f} %  {size(last.memory):>10}  {size(last.disk):>10}  {sparkline(loads)}"
