"""Parts that several releases share: the same options are the same part, made once, and left when a release goes."""

import socket
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from slap.recipes.common.base import RecipeError
from slap.recipes.common.shared import MATERIALS_FILE, ask_node, part_digest
from slap.recipes.download import Recipe
from slap.recipes.git import Recipe as Git
from slap.system import environment

CONTENT = b"something"
DIGEST = sha256(CONTENT).hexdigest()


def part_in(release: Path, kind: type[Recipe] = Recipe, **options: str) -> Recipe:
    """A shared part called `it`, of a release whose neighbours have the same shared parts."""
    main = {
        "directory": str(release), "parts-directory": str(release / "parts"),
        "shared-part-list": f"/nowhere\n{release.parent / 'shared'}",
    }  # fmt: skip
    source = release.parent / "source"
    source.write_bytes(CONTENT)
    given = {"recipe": "slap:download", "url": str(source), "sha256": DIGEST, "shared": "true"}
    release.mkdir(exist_ok=True)
    return kind({"buildout": main}, "it", given | options)


def test_two_releases_have_one_part(tmp_path: Path) -> None:
    one, two = part_in(tmp_path / "one"), part_in(tmp_path / "two")
    assert one.location == two.location and one.location.parent == tmp_path / "shared/it"
    assert one.options["location"] == str(one.location)
    assert (one.install(), two.install()) == ([], [])  # nothing that buildout would remove with the release
    made = next(path for path in one.location.rglob("*") if path.name != MATERIALS_FILE)
    assert made.read_bytes() == CONTENT
    records = [path.read_bytes() for path in tmp_path.glob("*/parts/.*/it.json")]
    assert len(records) == 2 and records[0] == records[1] == (one.location / MATERIALS_FILE).read_bytes()


def test_a_part_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    part = part_in(tmp_path / "one")
    assert part.update() == [] and part.location.is_dir()
    assert part.update() == []


def test_a_part_that_the_node_brought_meanwhile_stays(tmp_path: Path) -> None:
    class Slow(Recipe):
        def make(self, part: Path) -> None:
            super().make(part)
            self.location.mkdir(parents=True)
            (self.location / "brought").touch()

    slow = part_in(tmp_path / "one", Slow)
    slow.install()
    assert [each.name for each in slow.location.iterdir()] == ["brought"]


def test_other_options_are_another_part(tmp_path: Path) -> None:
    assert part_in(tmp_path / "one").location != part_in(tmp_path / "one", mode="755").location


def test_what_says_only_where_a_profile_was_is_no_difference(tmp_path: Path) -> None:
    options = {"url": "x", "location": "/a", "_profile_base_location_": "/b"}
    assert part_digest(options, tmp_path) == part_digest({"url": "x"}, tmp_path)


def test_a_patch_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.patch").write_text("one")
    before = part_digest({"patches": "a.patch"}, tmp_path)
    (tmp_path / "a.patch").write_text("two")
    assert part_digest({"patches": "a.patch"}, tmp_path) != before


def test_what_options_do_not_say_all_of_cannot_be_shared(tmp_path: Path) -> None:
    main = {"directory": str(tmp_path), "parts-directory": str(tmp_path), "shared-part-list": str(tmp_path / "shared")}
    with pytest.raises(RecipeError, match="options of part") as caught:
        Git({"buildout": main}, "it", {"repository": "http://x/y", "shared": "true"})
    assert "option shared is for slap:cmmi and slap:download" in str(caught.value)


def test_without_a_place_for_them_parts_are_the_releases_own(tmp_path: Path) -> None:
    main = {"directory": str(tmp_path), "parts-directory": str(tmp_path / "parts")}
    part = Recipe({"buildout": main}, "it", {"url": "/x", "sha256": DIGEST, "shared": "true"})
    assert part.location == tmp_path / "parts/it"


def test_the_node_is_asked_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask_node(tmp_path / "it/0123") == ""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "desk"))
        listener.listen()

        def answer() -> None:
            channel, _ = listener.accept()
            with channel:
                heard.append(channel.makefile().readline())
                channel.sendall(b"from cache\n")

        threading.Thread(target=answer, daemon=True).start()
        monkeypatch.setattr(environment, "variable", lambda name, default="": str(tmp_path / "desk"))
        assert ask_node(tmp_path / "it/0123") == "from cache"
    assert heard == ["it 0123\n"]
    assert "cannot be asked" in ask_node(tmp_path / "it/0123")
