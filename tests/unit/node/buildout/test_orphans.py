"""Children that are not requested any more: only a run that went through ends them, and nothing is forgotten meanwhile."""

from pathlib import Path

from slap.client.master import Master
from slap.model.errors import NotFound, SlapError, Unreachable
from slap.model.instance import Instance, InstanceRequest
from slap.model.node import REQUESTED_FILE, Requested
from slap.node.buildout.orphans import begin, collect


class Destroyer(Master):
    """Notes what is destroyed, or fails."""

    def __init__(self, error: SlapError | None = None) -> None:
        self.orders: list[tuple[str, str, bool]] = []
        self._error = error

    def request(self, request: InstanceRequest) -> Instance:
        self.orders.append((request.reference, request.state, request.shared))
        raise self._error or NotFound("It is gone already.")


def _run(folder: Path, *names: str, keep: bool = False, shared: bool = False) -> None:
    """What the recipes of a run do."""
    begin(folder)
    with (folder / REQUESTED_FILE).open("a") as file:
        for name in names:
            noted = Requested(reference=name, software_release="/r.cfg", software_type="t", keep=keep, shared=shared)
            file.write(noted.model_dump_json() + "\n")


def _collect(folder: Path, master: Master | None = None) -> list[str]:
    return collect(folder, lambda: master or Destroyer())


def test_without_children_nothing_is_written(tmp_path: Path) -> None:
    begin(tmp_path)
    assert _collect(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_what_only_runs_before_requested_is_destroyed_once(tmp_path: Path) -> None:
    _run(tmp_path, "a", "b", shared=True)
    assert _collect(tmp_path) == []
    _run(tmp_path, "a")
    master = Destroyer()
    assert _collect(tmp_path, master) == ["b"]
    assert master.orders == [("b", "destroyed", True)]
    _run(tmp_path, "a")
    assert _collect(tmp_path) == []
    _run(tmp_path)
    assert _collect(tmp_path) == ["a"]


def test_runs_that_failed_end_nothing_and_forget_nothing(tmp_path: Path) -> None:
    _run(tmp_path, "a", "b")
    _collect(tmp_path)
    _run(tmp_path, "a")  # and failed before it came to b
    _run(tmp_path, "a", "new")  # and was killed
    _run(tmp_path, "a", "b")
    assert _collect(tmp_path) == ["new"]


def test_what_is_to_be_kept_is_left_alone(tmp_path: Path) -> None:
    _run(tmp_path, "data", keep=True)
    _collect(tmp_path)
    _run(tmp_path, "a")
    assert _collect(tmp_path) == []


def test_a_child_that_another_recipe_orders_now_is_not_destroyed(tmp_path: Path) -> None:
    _run(tmp_path, "moved", "gone")
    _collect(tmp_path)
    _run(tmp_path)
    part = "[request-moved]\nrecipe = slapos.cookbook:request\nname = moved\nsoftware-url = /r.cfg\n"
    (tmp_path / ".installed.cfg").write_text(f"[buildout]\nparts = request-moved\n\n{part}")
    master = Destroyer()
    assert _collect(tmp_path, master) == ["gone"]
    assert master.orders == [("gone", "destroyed", False)]
    _run(tmp_path)
    assert _collect(tmp_path, master) == []


def test_what_the_master_does_not_take_now_is_tried_after_the_next_run(tmp_path: Path) -> None:
    _run(tmp_path, "a", "b")
    _collect(tmp_path)
    _run(tmp_path, "a")
    assert _collect(tmp_path, Destroyer(Unreachable("No answer."))) == []
    _run(tmp_path, "a")
    assert _collect(tmp_path) == ["b"]


def test_a_line_that_was_cut_off_is_nobody(tmp_path: Path) -> None:
    _run(tmp_path, "a")
    path = tmp_path / REQUESTED_FILE
    path.write_text(path.read_text() + '{"reference": "b", "soft\n')
    _run(tmp_path)
    assert _collect(tmp_path) == ["a"]


def test_a_profile_that_fails_for_ever_notes_no_more_than_it_must(tmp_path: Path) -> None:
    for number in range(600):
        _run(tmp_path, *(f"child-{each}" for each in range(5)), f"once-{number % 3}")
    assert (tmp_path / REQUESTED_FILE).stat().st_size < 100_000
    _run(tmp_path, *(f"child-{each}" for each in range(5)))
    assert sorted(_collect(tmp_path)) == ["once-0", "once-1", "once-2"]
