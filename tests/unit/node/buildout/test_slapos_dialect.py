"""What SlapOS profiles expect of buildout beyond zc.buildout."""

from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest
from zc.buildout import UserError
from zc.buildout.download import ChecksumError, Download

from slap.model.option import dumps
from slap.node.buildout import eggs, profile_urls
from tests.unit.node.buildout.dialect import Recipe, read, speaking

PART = "[buildout]\nparts = a\n[a]\nrecipe = told\n"


@pytest.fixture(autouse=True)
def dialect() -> Iterator[None]:
    Recipe.made.clear()
    with speaking():
        yield


def md5_of(text: str) -> str:
    return md5(text.encode()).hexdigest()


def test_options_hold_values_and_hand_them_on_as_they_are(tmp_path: Path) -> None:
    made = read(tmp_path, PART + "[b]\nwhole = ${a:list}\npiece = <${a:list}>\nown = !py!{'x': (1, 2)}\n")
    assert made["b"]["whole"] == [1, "two", {"three": b"3"}]
    assert made["b"]["piece"] == "<!py![1, 'two', {'three': b'3'}]>"
    assert made["b"]["own"] == {"x": (1, 2)}
    made["b"]["whole"].append("mine")
    assert len(made["a"]["list"]) == 3


def test_what_was_put_in_is_final(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        PART + f"[b]\nhostile = {dumps('${a:secret} !py![1]')}\n[c]\ncopy = ${{b:hostile}}\nin = x${{c:copy}}\n",
    )
    assert made["c"]["copy"] == "${a:secret} !py![1]"
    assert made["c"]["in"] == "x${a:secret} !py![1]"
    made["c"]["set"] = "!py!['text']"
    assert made["c"]["set"] == "!py!['text']"


def test_two_dollars_are_one_but_for_our_own_recipes(tmp_path: Path) -> None:
    made = read(tmp_path, "[buildout]\nparts =\n[a]\nx = $${b:c} $$\n[ours]\nrecipe = slap:template\nx = $${b:c}\n")
    assert made["a"]["x"] == "${b:c} $"
    assert made["ours"]["x"] == "$${b:c}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ${a:y}\ny = ${a:x}", "Circular"),
        ("x = ${nowhere:y}", "nowhere"),
        ("x = ${:missing}", "missing"),
        ("x = ${a}", "colon"),
        ("x = !py!open('/etc/passwd')", "is not a value"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(tmp_path, f"[buildout]\nparts =\n[a]\n{text}\n")["a"]["x"]


def test_a_profile_knows_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "stack").mkdir()
    stack = "[macro]\nurl = ${:_profile_base_location_}/${:name}\n[plain]\nx = 1\n"
    (tmp_path / "stack/s.cfg").write_text(stack)
    made = read(
        tmp_path,
        "[buildout]\nextends = stack/s.cfg\nparts =\n[mine]\n<= macro\nname = n\n"
        "[own]\nurl = ${:_profile_base_location_}\nother = ${plain:_profile_base_location_}\n",
    )
    assert made["mine"]["url"] == f"{tmp_path}/stack/n"
    assert made["own"]["url"] == str(tmp_path)
    assert made["own"]["other"] == f"{tmp_path}/stack"
    assert "_profile_base_location_" not in made["plain"]


def test_a_profile_is_extended_only_as_it_was_meant(tmp_path: Path) -> None:
    text = "[x]\ny = 1\n"
    made = read(tmp_path, f"[buildout]\nextends = other.cfg#{md5_of(text)}\nparts =\n", other=text)
    assert made["x"]["y"] == "1"
    with pytest.raises(ChecksumError, match=r"other\.cfg"):
        read(tmp_path, f"[buildout]\nextends = other.cfg#{md5_of('else')}\nparts =\n", other=text)


def test_a_part_is_made_anew_when_what_it_refers_to_changed(tmp_path: Path) -> None:
    profile = PART + "said = ${b:x}\n[b]\nx = ${c:x}\n[c]\nx = 1\nunrelated = {}\n[d]\ny = {}\n"
    for unrelated, beside in (("1", "1"), ("1", "2"), ("2", "2"), ("2", "2")):
        read(tmp_path, profile.replace("{}", unrelated, 1).replace("{}", beside)).install(())
    assert Recipe.made == ["install a", "update a", "install a", "update a"]


def test_the_record_is_whole_and_holds_values_as_literals(tmp_path: Path) -> None:
    hostile = dumps("a\r[x:print()]\n")
    for again in ("", "unused = 1\n"):
        read(tmp_path, f"{PART}text = {hostile}\n[z]\n{again}").install(())
    record = (tmp_path / ".installed.cfg").read_text()
    assert record.count("[buildout]") == 1
    assert "list = !py![1, 'two', {'three': b'3'}]" in record
    assert "\r" not in record
    assert Recipe.made == ["install a", "update a"]


def test_pins_of_what_only_slapos_has_are_taken_as_they_can_be() -> None:
    pins = {"zc.buildout": "2.7.1+slapos019", "setuptools": "44.1.1", "Py_Lib": "1.2+SlapOSPatched001", "six": "1.16"}
    assert eggs.pins(pins) == {"py-lib": "1.2", "six": "1.16"}
    assert eggs.extensions("slapos.rebootstrap\nown\nbuildout-versions") == "own"


class Registry(profile_urls.Download):
    """Downloads from a table; remembers what it was asked for."""

    table: dict[str, str] = {}
    asked: list[str] = []

    def download(self, url: str, md5sum: str | None = None, path: str | None = None) -> tuple[str, bool]:
        if not url.startswith("http"):
            return super().download(url, md5sum, path)  # type: ignore[no-any-return]
        self.asked.append(url)
        if url not in self.table:
            raise UserError(f"no {url}")
        if md5sum and md5_of(self.table[url]) != md5sum:
            raise ChecksumError(url)
        assert path
        Path(path).write_text(self.table[url])
        return path, False


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    Registry.table, Registry.asked = {"http://h/f": "new"}, []
    (tmp_path / "cache").mkdir()
    return Registry({"directory": str(tmp_path), "download-cache": "cache"}, hash_name=True)


def test_downloads_are_checked_and_kept_by_their_digest(registry: Registry, tmp_path: Path) -> None:
    cached = Path(registry.cache_dir, registry.filename("http://h/f"))
    cached.write_text("old")
    path, temporary = registry(f"http://h/f#{md5_of('new')}")
    assert (Path(path).read_text(), temporary) == ("new", False)
    registry("http://h/f", md5_of("new"))
    assert registry.asked == ["http://h/f"]
    with pytest.raises(ChecksumError):
        registry("http://h/f", md5_of("another"))


def test_what_nobody_checks_is_fetched_again(registry: Registry) -> None:
    registry("http://h/f")
    registry.table["http://h/f"] = "newer"
    assert Path(registry("http://h/f")[0]).read_text() == "newer"
    del registry.table["http://h/f"]
    assert Path(registry("http://h/f")[0]).read_text() == "newer"


def test_a_download_has_a_second_place_to_come_from(registry: Registry, tmp_path: Path) -> None:
    path, _ = registry("http://gone/f", md5_of("new"), str(tmp_path / "there"), alternate_url="http://h/f")
    assert Path(path).read_text() == "new"
    with pytest.raises(UserError, match="no http://gone/f"):
        registry("http://gone/f")


def test_a_file_on_this_disk_is_taken_as_it_is_now(registry: Registry, tmp_path: Path) -> None:
    template = tmp_path / "t"
    for text in ("one", "two"):
        template.write_text(text)
        assert Path(registry(str(template), None, str(tmp_path / "out"))[0]).read_text() == text
        (tmp_path / "out").unlink()
    assert issubclass(profile_urls.Download, Download)
