"""Copies of disks that end by themselves while somebody ends them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CommandFailed
from slap.system.libvirt.blocks import Blocks


@dataclass
class Monitor:
    """A qemu that ends nothing on demand: its job has one state at each look, and stays in the last."""

    states: list[str]
    asked: list[str] = field(default_factory=list)

    def ask(self, name: str, command: str, arguments: Mapping[str, Any]) -> Any:
        self.asked.append(command)
        if command == "job-cancel":
            raise CommandFailed(f"{name}: {command}", "it cannot be cancelled")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return [{"id": "backup-root", "status": state}] if state else []


def cancel(*states: str) -> list[str]:
    monitor = Monitor(list(states))
    Blocks(monitor, "m", {"root": Path("/root.qcow2")}).cancel_copies()
    return monitor.asked


def test_a_copy_that_ended_by_itself_meanwhile_is_not_in_the_way() -> None:
    assert "job-cancel" in cancel("running", "concluded")
    assert "job-cancel" in cancel("running", "")


def test_a_copy_that_cannot_be_ended_is_told() -> None:
    with pytest.raises(CommandFailed):
        cancel("running", "running")


def test_a_copy_that_has_ended_is_left_alone() -> None:
    assert cancel("concluded") == ["query-jobs"]
