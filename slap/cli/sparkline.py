"""A series of numbers as a line of small bars, for a terminal."""

from collections.abc import Sequence

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], most: float = 0.0) -> str:
    """One bar for each value, the highest for `most`, or for the largest value when that is larger."""
    top = max([*values, most])
    return "".join(_BARS[_step(value, top)] for value in values)


def _step(value: float, top: float) -> int:
    return max(0, min(len(_BARS) - 1, int(value / top * len(_BARS)))) if top > 0 else 0
