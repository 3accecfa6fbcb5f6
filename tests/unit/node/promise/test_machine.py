"""What the node says of a machine that starts, from its file of phases and from what its guest says."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slap.model.check import MachineCheck
from slap.model.vm.phase import PHASE_FILE, Phase, Stage
from slap.node.promise.machine import sense_machine


def phase(folder: Path, stage: Stage, words: str = "") -> None:
    path = folder / PHASE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Phase(stage=stage, words=words, since=100.0).model_dump_json())


@contextmanager
def greeting(words: bytes, after: float = 0.0) -> Iterator[MachineCheck]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: _greet(server, words, after), daemon=True)
        thread.start()
        yield MachineCheck(check="machine", host="127.0.0.1", port=server.getsockname()[1])
        thread.join(5)


def _greet(server: socket.socket, words: bytes, after: float) -> None:
    channel, _ = server.accept()
    with channel:
        threading.Event().wait(after)
        channel.sendall(words)


@pytest.mark.parametrize(
    ("stage", "words", "said"),
    [
        (Stage.WAITING_FOR_IMAGE, "image debian-12: 63% of 99 MiB", "image debian-12: 63% of 99 MiB"),
        (Stage.PREPARING, "", "preparing disks"),
        (Stage.RESTARTING, "for memory", "restarting for memory"),
        (Stage.FAILED, "Image x cannot be had.", "Image x cannot be had."),
    ],
)
def test_the_phase_in_words(tmp_path: Path, stage: Stage, words: str, said: str) -> None:
    phase(tmp_path, stage, words)
    assert sense_machine(MachineCheck(check="machine"), tmp_path, None, 104.0) == (False, said)


def test_without_a_port_it_has_to_run(tmp_path: Path) -> None:
    check = MachineCheck(check="machine")
    assert sense_machine(check, tmp_path, None, 104.0) == (False, "The machine was not started yet.")
    phase(tmp_path, Stage.BOOTING)
    assert sense_machine(check, tmp_path, None, 104.0) == (True, "")


def test_with_a_port_its_guest_has_to_answer(tmp_path: Path) -> None:
    phase(tmp_path, Stage.BOOTING)
    with greeting(b"SSH-2.0-dropbear\r\n") as check:
        assert sense_machine(check, tmp_path, None, 104.0) == (True, "")
    with greeting(b"") as check:
        assert sense_machine(check, tmp_path, None, 104.0) == (False, "booting, 4 s")
    with greeting(b"220 mail\r\n") as check:
        passed, words = sense_machine(check, tmp_path, None, 900.0)
    assert not passed and words.startswith("The guest does not answer: 127.0.0.1 port")


def test_a_guest_that_takes_long_to_start_is_listened_to_for_longer(tmp_path: Path) -> None:
    """Twenty of them on two processors: none would have greeted before it was hung up on."""
    phase(tmp_path, Stage.BOOTING)
    with greeting(b"SSH-2.0-dropbear\r\n", after=2.2) as check:
        assert sense_machine(check, tmp_path, None, 140.0) == (True, "")


def test_a_file_of_phases_that_is_none_is_not_read(tmp_path: Path) -> None:
    phase(tmp_path, Stage.BOOTING)
    (tmp_path / "secret").write_text((tmp_path / PHASE_FILE).read_text())
    (tmp_path / PHASE_FILE).unlink()
    (tmp_path / PHASE_FILE).symlink_to(tmp_path / "secret")
    assert sense_machine(MachineCheck(check="machine"), tmp_path, None, 104.0)[0] is False
    (tmp_path / PHASE_FILE).unlink()
    (tmp_path / PHASE_FILE).write_text("{")
    assert sense_machine(MachineCheck(check="machine"), tmp_path, None, 104.0)[0] is False


def test_a_guest_has_the_time_that_it_was_given(tmp_path: Path) -> None:
    phase(tmp_path, Stage.BOOTING)
    with greeting(b"") as check:
        said = sense_machine(check.model_copy(update={"grace": 3}), tmp_path, None, 104.0)[1]
    assert said.startswith("The guest does not answer: ") and "slapos service logs" in said


def test_a_disk_without_room_is_said_though_the_guest_answers(tmp_path: Path) -> None:
    phase(tmp_path, Stage.BOOTING)
    passed, words = sense_machine(MachineCheck(check="machine"), tmp_path, None, 104.0, lambda folder: 1 << 20)
    assert (passed, f"{tmp_path} is on is full: 1 MiB are free" in words) == (False, True)
