"""The parameters of a machine with one wish more: pure decisions of the commands that are short for an order."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from slap.model.errors import Conflict, InvalidInput, NotFound
from slap.model.instance import Instance
from slap.model.vm.life_parameters import read_period

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}")
_OWN = ("snapshots", "restore", "backup", "clone", "hostname", "name")  # of one machine, not of its clones


def with_snapshot(machine: Instance, name: str) -> dict[str, Any]:
    """One snapshot more."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be the name of a snapshot.", "It begins with a letter; then digits and . _ - too."
        )
    there = snapshot_names(machine)
    if name in there:
        raise Conflict(
            f"There is a snapshot {name} already.",
            "It stays what it is.",
            f"Choose another name, or remove it first: slapos vm snapshot {machine.reference} {name} --remove",
        )
    return {**machine.parameters, "snapshots": [*there, name]}


def without_snapshot(machine: Instance, name: str) -> dict[str, Any]:
    check_known("snapshot", name, snapshot_names(machine), machine.reference)
    return {**machine.parameters, "snapshots": [each for each in snapshot_names(machine) if each != name]}


def with_restore(machine: Instance, kind: str, name: str, now: datetime) -> dict[str, Any]:
    """Going back once more, to a snapshot or to a backup."""
    names = snapshot_names(machine) if kind == "snapshot" else backup_names(machine)
    if kind == "backup" and name == "latest" and names:
        name = names[-1]
    check_known(kind, name, names, machine.reference)
    serial = _next_serial(_dict(machine, "restore"), now)
    return {**machine.parameters, "restore": {kind: name, "serial": serial}}


def with_backup(machine: Instance, changes: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """One backup more, with what changes of how they are made; a change that is None takes its setting away."""
    before = _dict(machine, "backup")
    if isinstance(changes.get("every"), str):
        try:
            read_period(changes["every"])
        except ValueError as error:
            raise InvalidInput(f"{error}.") from error
    wanted = {**before, **changes, "serial": _next_serial(before, now)}
    return {**machine.parameters, "backup": {key: value for key, value in wanted.items() if value is not None}}


def as_clone(machine: Instance, point: str | None) -> dict[str, Any]:
    """The parameters of a new machine that begins as this one was."""
    vault = _dict(machine, "backup").get("to")
    if not vault:
        raise NotFound(
            f"{machine.reference} has no backups in a vault.",
            "Another machine can begin only from there: nobody else reads this one's own partition.",
            f"Order a vault, then: slapos vm backup {machine.reference} --vault VAULT",
        )
    if point is not None:
        check_known("backup", point, backup_names(machine), machine.reference)
    own = {key: value for key, value in machine.parameters.items() if key not in _OWN}
    source = {**vault, "folder": vault.get("folder") or machine.guid}
    return {**own, "clone": {"from": source, **({"backup": point} if point else {})}}


def vault_access(vault: Instance) -> dict[str, str]:
    """What lets a machine in."""
    try:
        return {name: vault.connection[name] for name in ("url", "password", "certificate")}
    except KeyError:
        raise NotFound(
            f"{vault.reference} is no vault, or not ready.",
            "It does not publish url, password and certificate.",
            f"slapos service info {vault.reference}",
        ) from None


def snapshot_names(machine: Instance) -> list[str]:
    """Those that are ordered, and those that exist though nobody orders them any more."""
    ordered = machine.parameters.get("snapshots")
    return list(ordered) if ordered is not None else _published(machine, "snapshots")


def backup_names(machine: Instance) -> list[str]:
    return _published(machine, "backups")


def new_snapshot_name(now: datetime) -> str:
    return now.strftime("s%Y%m%d-%H%M%S")


def check_known(kind: str, name: str, known: Sequence[str], machine: str) -> None:
    """Raises NotFound with the names that there are."""
    if name not in known:
        there = f"There are: {', '.join(known)}." if known else "There is none yet."
        raise NotFound(f"{machine} has no {kind} {name}.", there, f"slapos service info {machine}")


def _published(machine: Instance, name: str) -> list[str]:
    told = machine.connection.get(name) or []
    return [str(each["name"]) for each in told if isinstance(each, dict) and "name" in each]


def _next_serial(ordered: Mapping[str, Any], now: datetime) -> int:
    """Above all that the machine ever had: the order may be another one by now, or one from long ago."""
    return max(int(ordered.get("serial", 0)) + 1, int(now.timestamp()))


def _dict(machine: Instance, name: str) -> dict[str, Any]:
    found = machine.parameters.get(name)
    return found if isinstance(found, dict) else {}
