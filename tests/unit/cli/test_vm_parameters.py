"""What a machine's order becomes by the commands that are short for one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from slap.cli.vm.parameters import (
    as_clone,
    new_snapshot_name,
    vault_access,
    with_backup,
    with_restore,
    with_snapshot,
    without_snapshot,
)
from slap.model.errors import Conflict, InvalidInput, NotFound
from slap.model.instance import Instance
from slap.model.vm.life_parameters import LifeParameters, life_of, read_period
from tests.unit.cli.fakes import an_instance

VAULT: dict[str, Any] = {"url": "https://[::1]:9/", "password": "secret-secret", "certificate": "PEM"}
NOW = datetime(2026, 11, 26, 13, 30, tzinfo=UTC)
SECONDS = 1795699800  # the same
BACKUPS = [{"name": "20261126-120000"}, {"name": "20261126-130000"}]


def machine(parameters: dict[str, Any] | None = None, **connection: Any) -> Instance:
    return an_instance(reference="vm", guid="VM-1", parameters={"ram": 1, **(parameters or {})}, connection=connection)


def test_snapshots_are_added_to_those_that_are_ordered() -> None:
    assert with_snapshot(machine(), "a") == {"ram": 1, "snapshots": ["a"]}
    assert with_snapshot(machine({"snapshots": ["a"]}), "b") == {"ram": 1, "snapshots": ["a", "b"]}
    assert with_snapshot(machine(snapshots=[{"name": "old"}]), "b") == {"ram": 1, "snapshots": ["old", "b"]}
    assert without_snapshot(machine({"snapshots": ["a", "b"]}), "a") == {"ram": 1, "snapshots": ["b"]}


def test_a_snapshot_is_made_once_and_has_a_name_that_it_can_have() -> None:
    with pytest.raises(Conflict, match="There is a snapshot a already"):
        with_snapshot(machine({"snapshots": ["a"]}), "a")
    with pytest.raises(InvalidInput):
        with_snapshot(machine(), "1")
    with pytest.raises(NotFound, match="vm has no snapshot b"):
        without_snapshot(machine({"snapshots": ["a"]}), "b")
    assert with_snapshot(machine(), new_snapshot_name(datetime(2026, 11, 26, 1, 2, 3, tzinfo=UTC)))["snapshots"] == [
        "s20261126-010203"
    ]


def test_each_restore_has_a_serial_of_its_own() -> None:
    first = with_restore(machine({"snapshots": ["a"]}), "snapshot", "a", NOW)
    assert first["restore"] == {"snapshot": "a", "serial": SECONDS}
    second = with_restore(machine(first, backups=BACKUPS), "backup", "latest", NOW)
    assert second["restore"] == {"backup": "20261126-130000", "serial": SECONDS + 1}
    with pytest.raises(NotFound, match="vm has no backup latest") as caught:
        with_restore(machine(), "backup", "latest", NOW)
    assert caught.value.details == "There is none yet."


def test_after_another_order_or_a_rollback_serials_go_on_all_the_same() -> None:
    """A machine does nothing for one that it had, or for a lower one."""
    later = NOW + timedelta(hours=1)
    for ordered in ({}, {"backup": {"serial": 3}, "restore": {"snapshot": "a", "serial": 3}}):
        before = machine({**ordered, "snapshots": ["a"]})
        assert with_backup(before, {}, later)["backup"]["serial"] > with_backup(before, {}, NOW)["backup"]["serial"] > 3
        first, second = (with_restore(before, "snapshot", "a", now)["restore"]["serial"] for now in (NOW, later))
        assert second > first > 3


def test_a_backup_keeps_what_was_said_before() -> None:
    first = with_backup(machine(), {"every": "1h", "to": VAULT}, NOW)
    assert first["backup"] == {"every": "1h", "to": VAULT, "serial": SECONDS}
    second = with_backup(machine(first), {"keep": 3}, NOW)
    assert second["backup"] == {"every": "1h", "to": VAULT, "keep": 3, "serial": SECONDS + 1}
    third = with_backup(machine(second), {"every": None, "to": None}, NOW)
    assert third["backup"] == {"keep": 3, "serial": SECONDS + 2}
    with pytest.raises(InvalidInput, match="'often' is no period"):
        with_backup(machine(), {"every": "often"}, NOW)


def test_a_clone_is_another_machine_of_the_same_kind() -> None:
    ordered = {"image": "tiny", "snapshots": ["a"], "hostname": "me", "backup": {"to": VAULT, "serial": 3}}
    parameters = as_clone(machine(ordered, backups=BACKUPS), "20261126-120000")
    assert parameters == {
        "ram": 1,
        "image": "tiny",
        "clone": {"from": {**VAULT, "folder": "VM-1"}, "backup": "20261126-120000"},
    }
    assert "backup" not in as_clone(machine(ordered), None)["clone"]
    again = as_clone(machine({**parameters, "backup": {"to": VAULT}}), None)
    assert again["clone"] == {"from": {**VAULT, "folder": "VM-1"}}


def test_what_cannot_be_cloned() -> None:
    with pytest.raises(NotFound, match="no backups in a vault"):
        as_clone(machine({"backup": {"serial": 1}}), None)
    with pytest.raises(NotFound, match="vm has no backup 20260101-000000"):
        as_clone(machine({"backup": {"to": VAULT}}, backups=BACKUPS), "20260101-000000")


def test_only_a_vault_lets_in() -> None:
    assert vault_access(machine(user="vault", **VAULT)) == VAULT
    with pytest.raises(NotFound, match="vm is no vault"):
        vault_access(machine(url="https://x/"))


@pytest.mark.parametrize(
    ("said", "seconds"), [("30min", 1800), ("1 h", 3600), ("2 hours", 7200), ("1d", 86400), ("1 week", 604800)]
)
def test_periods(said: str, seconds: int) -> None:
    assert read_period(said) == seconds


@pytest.mark.parametrize("said", ["", "1", "h", "-1 h", "1 s", 3600, None])
def test_what_is_no_period(said: Any) -> None:
    with pytest.raises(ValueError, match="no period"):
        read_period(said)


def test_what_is_ordered_becomes_what_is_wanted() -> None:
    ordered = {
        "snapshots": ["a"],
        "restore": {"snapshot": "a", "serial": 2},
        "backup": {"every": "1 h", "keep": 3, "serial": 4, "to": VAULT},
        "clone": {"from": {**VAULT, "folder": "VM-0"}},
    }
    life = life_of(LifeParameters.model_validate(ordered), "VM-1")
    assert life.snapshots == ("a",)
    assert life.restore is not None
    assert life.restore.serial == 2
    assert life.backup is not None
    assert (life.backup.every, life.backup.keep, life.backup.serial) == (3600, 3, 4)
    assert life.backup.vault is not None
    assert life.backup.vault.folder == "VM-1"
    assert life.clone is not None
    assert life.clone.vault.folder == "VM-0"
    with pytest.raises(ValidationError):
        LifeParameters.model_validate({"backup": {"every": "1 h", "kep": 3}})
