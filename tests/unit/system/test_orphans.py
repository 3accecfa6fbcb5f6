"""Which orphans are left by a run that is over, told from real processes of this test."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from slap.system.host.orphans import RUN_MARK, Orphans
from slap.system.host.proc import NODE_MARK, PARTITION_MARK, is_alive, started_at, wait_for_end


@contextmanager
def a_child(**variables: str) -> Iterator[int]:
    """A child of this process, which stands for supervisord."""
    with subprocess.Popen(["/bin/sleep", "1000"], env=variables) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def orphans(*supervised: int) -> Orphans:
    return Orphans(os.getpid(), lambda: supervised)


def test_orphans_of_a_run_that_goes_on_are_left_alone() -> None:
    found = orphans()
    run = found.begin("slappart0:web", None)
    with a_child(**{RUN_MARK: run.mark}) as child:
        assert (found.sweep(), is_alive(child)) == ([], True)
        found.end("slappart0:web")
        assert found.sweep() == [child]
        assert wait_for_end(child, 5)


def test_a_new_run_ends_the_one_before() -> None:
    found = orphans()
    run = found.begin("slappart0:web", None)
    other = found.begin("slappart0:other", None)
    with a_child(**{RUN_MARK: run.mark}) as child, a_child(**{RUN_MARK: other.mark}) as spared:
        again = found.begin("slappart0:web", None)
        found.wait(again)
        assert (is_alive(child), is_alive(spared)) == (False, True)


def test_supervised_processes_are_no_orphans() -> None:
    with a_child(**{RUN_MARK: "slappart0:web:99"}) as child:
        assert orphans(child).sweep() == []


def test_who_clears_its_environment_is_found_by_its_user_and_its_age() -> None:
    found = orphans()
    found.begin("slappart0:web", os.getuid())
    with a_child() as child:
        assert found.sweep() == []
        found.end("slappart0:web")
        assert found.sweep() == [child]


@pytest.mark.parametrize("variables", [{PARTITION_MARK: "/srv/slappart0"}, {NODE_MARK: "/"}])
def test_what_the_agent_starts_is_left_alone(variables: dict[str, str]) -> None:
    found = orphans()
    found.begin("slappart0:web", os.getuid())
    with a_child(**variables) as child:
        found.end("slappart0:web")
        assert (found.sweep(), is_alive(child)) == ([], True)


def test_who_is_older_than_the_run_or_of_another_user_is_left_alone() -> None:
    with ExitStack() as stack:
        child = stack.enter_context(a_child())
        younger = Orphans(os.getpid(), tuple, lambda: started_at(child) + 1)
        stranger = orphans()
        for found, user in ((younger, os.getuid()), (stranger, 65534)):
            found.begin("slappart0:web", user)
            found.end("slappart0:web")
            assert found.sweep() == []


def test_a_run_that_ended_long_ago_explains_no_orphan() -> None:
    times = iter([0.0, 0.0, 100.0, 100.0])
    found = Orphans(os.getpid(), tuple, lambda: next(times))
    found.begin("slappart0:web", os.getuid())
    found.end("slappart0:web")
    with a_child():
        assert found.sweep() == []
