"""Whether KVM works: a "no" that was only a busy moment does not last, and the capability is what was tried."""

import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slap.node.core.kvm_probe import VERDICT, Prober, settle
from slap.node.format.plan import capabilities
from slap.system.clock import FakeClock
from slap.system.process import Command, Completed
from tests.unit.node.things import a_config

WORKS, TOO_LATE, SPINS, FAILS = 33, 124, -signal.SIGXCPU, 1


@dataclass
class Qemu:
    """Ends as it is told to."""

    status: int = WORKS
    asked: list[Command] = field(default_factory=list)

    def run(self, command: Command) -> Completed:
        self.asked.append(command)
        return Completed(command, self.status, "", "qemu: no\n")


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "kvm"
    path.touch()
    return path


@pytest.mark.parametrize(
    ("status", "asked_again_later", "words"),
    [(WORKS, False, ""), (SPINS, False, "hang"), (TOO_LATE, True, "did not end within"), (FAILS, True, "qemu: no")],
)
def test_only_what_was_seen_for_sure_holds(
    tmp_path: Path, device: Path, status: int, asked_again_later: bool, words: str
) -> None:
    qemu, clock = Qemu(status), FakeClock()
    prober = Prober(qemu, tmp_path / "own", device=device, clock=clock)
    found = prober.verdict()
    assert (found.kvm, words in found.words) == (status == WORKS, True)
    assert prober.verdict() == found and len(qemu.asked) == 1
    clock.sleep(3600)
    qemu.status = WORKS
    assert prober.verdict().kvm == (asked_again_later or status == WORKS)


def test_what_was_found_out_by_another_measure_is_found_out_again(tmp_path: Path, device: Path) -> None:
    qemu = Qemu()
    prober = Prober(qemu, tmp_path / "own", device=device, clock=FakeClock())
    (tmp_path / "own").write_text(prober.verdict().model_copy(update={"spins": 2}).model_dump_json())
    qemu.status = SPINS
    assert not prober.verdict().kvm


def test_a_guest_that_hangs_or_crawls_costs_a_second_of_a_processor(tmp_path: Path, device: Path) -> None:
    qemu = Qemu()
    Prober(qemu, tmp_path / "own", device=device, clock=FakeClock()).verdict()
    assert qemu.asked[0].argv[:2] == ("prlimit", "--cpu=1:2")


def test_what_format_finds_out_is_for_all_partitions_and_is_the_capability(tmp_path: Path, device: Path) -> None:
    config = a_config(tmp_path / "node")
    assert "kvm" not in capabilities(config, device)
    qemu, clock = Qemu(), FakeClock()
    settle(qemu, config.machines, clock, device, tmp_path / "run")
    assert "kvm" in capabilities(config, device)
    assert "kvm" not in capabilities(config, tmp_path / "none")
    partitions = Qemu(FAILS)
    prober = Prober(partitions, tmp_path / "own", config.machines / VERDICT, device=device, clock=clock)
    assert prober.verdict().kvm and partitions.asked == []


def test_format_asks_again_what_was_not_sure(tmp_path: Path, device: Path) -> None:
    config, clock = a_config(tmp_path / "node"), FakeClock()
    settle(Qemu(TOO_LATE), config.machines, clock, device, tmp_path / "run")
    assert "kvm" not in capabilities(config, device)
    settle(Qemu(WORKS), config.machines, clock, device, tmp_path / "run")
    assert "kvm" in capabilities(config, device)
    again = Qemu(FAILS)
    settle(again, config.machines, clock, device, tmp_path / "run")
    assert again.asked == []


def test_what_root_is_sure_of_holds_for_the_other_nodes_of_a_computer(tmp_path: Path, device: Path) -> None:
    first, second = a_config(tmp_path / "first"), a_config(tmp_path / "second")
    settle(Qemu(WORKS), first.machines, FakeClock(), device, tmp_path / "run")
    again = Qemu(FAILS)
    settle(again, second.machines, FakeClock(), device, tmp_path / "run")
    assert "kvm" in capabilities(second, device)
    assert again.asked == []
