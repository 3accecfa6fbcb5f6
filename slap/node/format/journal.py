"""The journal of `slapos node format`: what it made, written before it is made, so that it can be undone."""

import json
from collections.abc import Iterable
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from slap.model.base import Frozen
from slap.model.errors import InvalidInput
from slap.node.core.config import NodeConfig
from slap.system import files

LEDGER = "etc/formatted.json"


class Kind(StrEnum):
    """What can be made, in the order of making; undone in the reverse order."""

    USER = "user"
    MEMBER = "member"
    ADDRESS = "address"
    BRIDGE = "bridge"
    TAP = "tap"
    PARTITION = "partition"


class Made(Frozen):
    """One thing made. `interface` is an address's interface, and for a member its group."""

    kind: Kind
    name: str
    interface: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f" from {self.interface}" if self.interface else "")


class Journal:
    """The journal's file, which only root reads."""

    def __init__(self, config: NodeConfig) -> None:
        self._path = config.root / LEDGER

    def made(self) -> tuple[Made, ...]:
        try:
            return _ENTRIES.validate_json(files.read_or(self._path, "[]"))
        except ValidationError as error:
            raise InvalidInput(f"{self._path} cannot be understood.", str(error), "Mend or remove it.") from error

    def note(self, entries: Iterable[Made]) -> None:
        known = self.made()
        new = [entry for entry in entries if entry not in known]
        if new:
            self._save((*known, *new))

    def forget(self, entry: Made) -> None:
        self._save(tuple(each for each in self.made() if each != entry))

    def _save(self, entries: tuple[Made, ...]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        files.write(self._path, json.dumps([entry.model_dump() for entry in entries], indent=1), 0o600)


_ENTRIES: TypeAdapter[tuple[Made, ...]] = TypeAdapter(tuple[Made, ...])
