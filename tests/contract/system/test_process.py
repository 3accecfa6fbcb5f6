"""The real runner and the fake one give the same answers."""

from dataclasses import replace

import pytest

from slap.model.errors import CommandFailed
from slap.system.process import Command, Completed, FakeRunner, Runner, SystemRunner

TRUE = Command(("true",))
ECHO = Command(("echo", "two words"))
MISSING = Command(("ls", "/nowhere"), env={"LC_ALL": "C", "PATH": "/bin"})
ANSWERS = {
    "echo": Completed(ECHO, 0, "two words\n"),
    "ls": Completed(MISSING, 2, "", "ls: cannot access '/nowhere': No such file or directory\n"),
}


@pytest.fixture(params=[SystemRunner, lambda: FakeRunner(ANSWERS)], ids=["real", "fake"])
def runner(request: pytest.FixtureRequest) -> Runner:
    made: Runner = request.param()
    return made


@pytest.mark.parametrize("command", [TRUE, ECHO, MISSING])
def test_the_answer_holds_the_command_its_status_and_its_output(runner: Runner, command: Command) -> None:
    expected = ANSWERS.get(command.argv[0], Completed(TRUE, 0))
    assert runner.run(command) == expected


def test_a_program_is_the_same_with_its_path(runner: Runner) -> None:
    command = replace(ECHO, argv=("/bin/echo", "two words"))
    assert runner.run(command).stdout == "two words\n"


def test_success_is_passed_on_and_failure_raised(runner: Runner) -> None:
    assert runner.run(ECHO).check().stdout == "two words\n"
    with pytest.raises(CommandFailed, match="ls failed with status 2"):
        runner.run(MISSING).check()
