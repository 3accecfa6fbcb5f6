"""What a partition may use of its computer: what is requested, what the computer's owner allows, and what is in force."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.model.vm.size import in_words, read_size


def _size(value: Any) -> Any:
    return value if value is None else read_size(value, 1)


_LARGEST = 1 << 50
Size = Annotated[int, BeforeValidator(_size), Field(ge=1 << 20, le=_LARGEST)]  # bytes
Count = Annotated[int, Field(ge=1, le=1 << 22)]
ORDINARY_WEIGHT = 100
Weight = Annotated[int, Field(ge=1, le=10_000)]


class Limits(Frozen):
    """Limits of one partition; None where nothing is said.

    `processes` counts threads too, `memory` and `disk` are of all processes and files together, `descriptors` are open
    files of each process. The weights say how CPU and disks are shared when they are scarce: 100 is the ordinary one.
    """

    processes: Count | None = None
    memory: Size | None = None
    descriptors: Annotated[int, Field(ge=16, le=1 << 20)] | None = None
    cpu_weight: Weight | None = None
    io_weight: Weight | None = None
    disk: Size | None = None

    def over(self, defaults: "Limits") -> "Limits":
        """These, and the defaults where nothing is said."""
        return defaults.model_copy(update=self.model_dump(exclude_none=True))

    def above(self, bounds: "Limits") -> list[str]:
        """In words, which of these are more than the bounds allow."""
        allowed = bounds.model_dump(exclude_none=True)
        asked = self.model_dump(exclude_none=True)
        return [
            f"{name} = {amount_text(name, asked[name])}, at most {amount_text(name, allowed[name])}"
            for name in asked
            if name in allowed and asked[name] > allowed[name]
        ]

    def texts(self) -> dict[str, str]:
        """What is said, for people."""
        return {name: amount_text(name, value) for name, value in self.model_dump(exclude_none=True).items()}


NO_LIMITS = Limits()


class ComputerLimits(Frozen):
    """What a computer does about limits: those of who requests none, the most that can be requested, and how."""

    defaults: Limits = NO_LIMITS
    bounds: Limits = NO_LIMITS
    mechanism: str = Field(default="", max_length=200)

    def lines(self) -> dict[str, str]:
        """By name the default and the bound, and how they are kept, for people."""
        defaults, bounds = self.defaults.texts(), self.bounds.texts()
        named = {
            name: f"{defaults.get(name, 'none')}, at most {bounds.get(name, 'any')}" for name in Limits.model_fields
        }
        return {**named, "kept by": self.mechanism}


def read_limits(words: Mapping[str, str]) -> Limits:
    """From NAME and value as people write them. Raises InvalidInput, which names all mistakes."""
    try:
        return Limits.model_validate({name: _number(name, text) for name, text in words.items()})
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        known = ", ".join(name.replace("_", "-") for name in Limits.model_fields)
        raise InvalidInput("These limits cannot be requested.", "; ".join(wrong), f"There are: {known}.") from error


def read_section(section: Mapping[str, str], totals: Mapping[str, int]) -> tuple[Limits, Limits]:
    """Defaults and bounds of a computer, from options NAME and max_NAME: amounts, parts of `totals` as in 75%, or none.

    Without a bound, no more than the default can be requested. Raises InvalidInput, which names all mistakes.
    """
    known = [f"{kind}{name}" for kind in ("", "max_", _OF_BUILDS) for name in Limits.model_fields]
    if wrong := [name for name in section if name not in known]:
        raise InvalidInput(
            f"[limits] has no option {', '.join(wrong)}.", f"There are: {', '.join(known)}.", "Mend these options."
        )
    defaults = {name: section.get(name, DEFAULTS[name]) for name in Limits.model_fields}
    bounds = {name: section.get(f"max_{name}", defaults[name]) for name in Limits.model_fields}
    return _read_parts(defaults, totals), _read_parts(bounds, totals)


def read_build_limits(section: Mapping[str, str], totals: Mapping[str, int]) -> Limits:
    """What builds of releases may take together, and of `disk` each one, from options build_NAME of the same section."""
    texts = {name: section.get(f"{_OF_BUILDS}{name}", BUILD_DEFAULTS[name]) for name in Limits.model_fields}
    return _read_parts(texts, totals)


def _read_parts(texts: Mapping[str, str], totals: Mapping[str, int]) -> Limits:
    return read_limits({name: _part(text, totals.get(name, 0)) for name, text in texts.items() if text != "none"})


# What partitions get where slapos.cfg says nothing: enough for services as they are, too little to take a computer.
DEFAULTS = {
    "processes": "2048",
    "memory": "75%",
    "descriptors": "65536",
    "cpu_weight": "100",
    "io_weight": "100",
    "disk": "75%",
}
# What builds get: compilers are many and large, and services come first.
BUILD_DEFAULTS = {**DEFAULTS, "processes": "4096", "cpu_weight": "50", "io_weight": "50"}
_OF_BUILDS = "build_"


def _part(text: str, total: int) -> str:
    """An amount of which a part was written: 75% of what there is."""
    number = text.removesuffix("%")
    is_part = number != text and number.isdecimal() and 0 < int(number) <= 100
    return str(total * int(number) // 100) if is_part and total else text


def amount_text(name: str, value: int) -> str:
    return in_words(value) if name in SIZES else str(value)


SIZES = frozenset({"memory", "disk"})


def _number(name: str, text: str) -> str | int:
    return int(text) if name not in SIZES and text.isdecimal() and len(text) < 10 else text
