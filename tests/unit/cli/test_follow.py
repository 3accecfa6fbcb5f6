"""How progress is shown."""

import io

import pytest
from rich.console import Console

from slap.cli.order.follow import LiveDisplay, PlainDisplay
from slap.cli.order.wait import Line, Mark
from slap.system.clock import FakeClock

WORKING = Line("INST-1", 0, "hello", Mark.WORKING, "building its software: part \x1b[2J3")
CHILD = Line("INST-2", 1, "db", Mark.WAITING, "placed on COMP-1/slappart1, waiting for the node")
DONE = Line("INST-1", 0, "hello", Mark.DONE, "started on COMP-1/slappart0")


def test_without_a_terminal_each_change_is_a_line_with_its_time(capsys: pytest.CaptureFixture[str]) -> None:
    clock = FakeClock()
    display = PlainDisplay(clock)
    display.show([WORKING])
    clock.sleep(75)
    display.show([WORKING, CHILD])
    display.show([DONE, CHILD])
    assert capsys.readouterr().err.splitlines() == [
        "     0.0 s  hello: building its software: part 3",
        "1 min 15 s    db: placed on COMP-1/slappart1, waiting for the node",
        "1 min 15 s  hello: started on COMP-1/slappart0",
    ]


def test_on_a_terminal_each_instance_has_a_line_with_the_time_in_its_phase() -> None:
    clock = FakeClock()
    display = LiveDisplay(clock)
    display.show([WORKING, CHILD])
    clock.sleep(20)
    display.show([DONE, CHILD])
    display.note("No answer.")
    screen = io.StringIO()
    Console(file=screen, width=80).print(display)
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert lines[0] == "✓ hello started on COMP-1/slappart0"
    assert lines[1].startswith("·   db  placed on COMP-1/slappart1, waiting for the node")
    assert lines[1].endswith("20 s")
    assert lines[2] == "No answer."
