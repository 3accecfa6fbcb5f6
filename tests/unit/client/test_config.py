"""Which configuration is in force, and what is said of one that is of no use."""

import os
import stat
from pathlib import Path

import pytest

from slap.client.config import (
    HOME_FILE,
    STANDALONE_FILE,
    VARIABLES,
    Surroundings,
    find_configuration,
    read_configuration,
    write_configuration,
)
from slap.model.errors import InvalidInput, NotFound


def around(base: Path, variables: dict[str, str] | None = None, user: int | None = None) -> Surroundings:
    (base / "project/software/web").mkdir(parents=True, exist_ok=True)
    return Surroundings(
        variables=variables or {},
        home=base / "home",
        folder=base / "project/software/web",
        user=os.geteuid() if user is None else user,
        system_file=base / "etc/slapos.cfg",
    )


def leave(path: Path, name: str) -> Path:
    write_configuration(path, f"http://{name}", f"token-of-{name}")
    return path


@pytest.fixture
def everywhere(tmp_path: Path) -> Path:
    """A configuration in each of the places."""
    leave(tmp_path / "option.cfg", "option")
    leave(tmp_path / "first.cfg", "first")
    leave(tmp_path / "second.cfg", "second")
    leave(tmp_path / "project" / STANDALONE_FILE, "standalone")
    leave(tmp_path / "home" / HOME_FILE, "home")
    leave(tmp_path / "etc/slapos.cfg", "system")
    return tmp_path


PLACES = ["option", "first", "standalone", "home", "second", "system"]


@pytest.mark.parametrize("winner", PLACES)
def test_the_nearest_place_wins(everywhere: Path, winner: str) -> None:
    """As in SlapOS, SLAPOS_CONFIGURATION, which names a node's file, does not win over the user's own."""
    places = PLACES
    left = places[places.index(winner) :]
    variables = {
        name: str(everywhere / f"{place}.cfg")
        for name, place in zip(VARIABLES, ("first", "second"), strict=True)
        if place in left
    }
    for place, path in (
        ("standalone", everywhere / "project" / STANDALONE_FILE),
        ("home", everywhere / "home" / HOME_FILE),
    ):
        if place not in left:
            path.unlink()
    option = str(everywhere / "option.cfg") if "option" in left else ""
    assert find_configuration(option, around(everywhere, variables)).master_url == f"http://{winner}"


def test_a_standalone_that_belongs_to_somebody_else_is_passed_over(everywhere: Path) -> None:
    if os.geteuid() == 0:
        os.chown(everywhere / "project" / STANDALONE_FILE, 4711, 4711)
        assert find_configuration("", around(everywhere)).master_url == "http://home"
    else:
        with pytest.raises(NotFound):
            find_configuration("", around(everywhere, user=4711))


def test_without_any_configuration_it_is_said_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        find_configuration("", around(tmp_path))
    assert "slapos proxy start" in caught.value.resolution
    assert str(tmp_path / "home" / HOME_FILE) in caught.value.details


def test_a_file_that_was_named_has_to_exist(everywhere: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.cfg cannot be read"):
        find_configuration("nowhere.cfg", around(everywhere))


def test_what_is_written_is_read_and_the_token_is_for_its_owner_alone(tmp_path: Path) -> None:
    written = write_configuration(tmp_path / "new/client.cfg", "http://127.0.0.1:5000", "s3cret")
    assert read_configuration(tmp_path / "new/client.cfg") == written
    assert stat.S_IMODE((tmp_path / "new/client.token").stat().st_mode) == 0o600
    assert "s3cret" not in (tmp_path / "new/client.cfg").read_text()
    assert "s3cret" not in repr(written)


@pytest.mark.parametrize("section", ["client", "slapconsole"])
def test_a_token_in_a_private_file_of_its_own_or_of_slapos_is_taken(tmp_path: Path, section: str) -> None:
    path = tmp_path / "client.cfg"
    path.write_text(f"[slapos]\nmaster_url = https://master\n[{section}]\ntoken = abc%def\n")
    path.chmod(0o600)
    assert read_configuration(path).token == "abc%def"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "cannot be understood"),
        ("[slapos]\nother = 1\n", "names no master"),
        ("[slapos]\nmaster_url = master:5000\n", "not a URL"),
        ("[slapos]\nmaster_url = http://m\n", "names no token"),
        ("[slapos]\nmaster_url = http://m\n[client]\ntoken_file = gone\n", "gone cannot be read"),
        ("[slapos]\nmaster_url = http://m\n[client]\ntoken_file = empty\n", "empty is empty"),
        ("[slapos]\nmaster_url = http://m\n[client]\ntoken_file = open\n", "is readable by other users"),
        ("[slapos]\nmaster_url = http://m\n[client]\ntoken = readable-by-all\n", "is readable by other users"),
    ],
)
def test_a_useless_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "client.cfg"
    path.write_text(text)
    path.chmod(0o644)
    for name, content, mode in (("empty", "\n", 0o600), ("open", "token\n", 0o640)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    with pytest.raises((InvalidInput, NotFound), match=said) as caught:
        read_configuration(path)
    assert str(tmp_path) in caught.value.brief
    assert caught.value.resolution
