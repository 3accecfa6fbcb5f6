"""What a master knows of other masters, and of releases by short names."""

from pathlib import Path

from pydantic import Field

from slap.model.base import Frozen


class OtherMaster(Frozen):
    """A master that orders may be forwarded to; those for one of `releases` always are."""

    url: str = Field(pattern=r"^https?://[^/]")
    certificate: Path | None = None
    key: Path | None = None
    computer: str = ""  # with `partition`: orders are placed there as this partition
    partition: str = ""
    releases: frozenset[str] = frozenset()


class Beside(Frozen):
    """What a master knows besides its database: masters that orders may be forwarded to, and software releases by short
    words, as SlapOS's software products.
    """

    others: tuple[OtherMaster, ...] = ()
    products: dict[str, str] = Field(default_factory=dict)
