"""The base of all model types, and the names that people give to things."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError


class Frozen(BaseModel):
    """An immutable value whose fields are checked; an unknown field is an error, never ignored."""

    # JSON has no NaN: stored, it becomes a null that the same model refuses to load.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False)


def _in_words(name: Any, check: Callable[[Any], str]) -> str:
    """People who gave a wrong name are told what a right one is, not a regular expression."""
    try:
        return check(name)
    except ValidationError:
        raise PydanticCustomError(
            "name", "a name has 1 to 200 characters, no slashes or line ends, and not only dots"
        ) from None


# A name that a person gives: it appears in paths, URLs, logs and tables, so neither slashes nor control characters,
# and not only dots.
Name = Annotated[
    str,
    StringConstraints(pattern=r"^\.*[^.\x00-\x1f\x7f/\\][^\x00-\x1f\x7f/\\]*$", min_length=1, max_length=200),
    WrapValidator(_in_words),
]

# The name of a partition is also a folder's name and a supervisor group's name.
PartitionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]

# Values as JSON has them; what a schema of a software release says about them is checked by the master.
Parameters = dict[str, Any]
