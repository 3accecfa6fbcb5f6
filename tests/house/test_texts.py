"""The documents, the packaging and the shape of the tree are as they should be."""

import tomllib

import pytest

from tests.house import texts
from tests.house.sources import Source, all_texts, documents, files, read

PROJECT = tomllib.loads(read("pyproject.toml").text)
ROOMS = [name for name in files("slap") if name.endswith(".py") and "migrations" not in name]


def test_links_lead_somewhere() -> None:
    there = files(".")
    assert [link for document in documents() for link in texts.broken_links(document, there)] == []


def test_nothing_speaks_of_one_machine() -> None:
    assert [words for source in all_texts() for words in texts.out_of_place(source)] == []


def test_every_recipe_has_a_page() -> None:
    recipes = PROJECT["project"]["entry-points"]["zc.buildout"]
    pages = [name.rpartition("/")[2] for name in files("docs/reference/recipes")]
    assert texts.undocumented(recipes, pages) == []


def test_every_requirement_is_pinned() -> None:
    project = PROJECT["project"]
    optional = [name for group in project.get("optional-dependencies", {}).values() for name in group]
    wanted = PROJECT["build-system"]["requires"] + project["dependencies"] + optional
    assert texts.unpinned(wanted, read("constraints.txt").text) == []


def test_rooms_are_flat() -> None:
    assert texts.too_deep(ROOMS) == []


def test_every_folder_of_slap_says_in_one_line_what_it_holds() -> None:
    folders = {name.rpartition("/")[0] for name in ROOMS}
    assert [folder for folder in sorted(folders) if not texts.has_summary(read(f"{folder}/__init__.py"))] == []


def test_every_folder_of_tests_is_a_package() -> None:
    folders = {name.rpartition("/")[0] for name in files("tests") if name.endswith(".py")}
    assert sorted(folders - {name.removesuffix("/__init__.py") for name in files("tests")}) == []


def test_a_broken_link_is_found() -> None:
    text = "[a](b.md#c) [d](../e) [f](nowhere.md) [g](http://h) [i](#j)\n```\n[k](l)\n```\n"
    assert texts.broken_links(Source("docs/a.md", text), ["docs/b.md", "e/f"]) == ["docs/a.md: nowhere.md"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://pyp" + "i.org/simple", True),
        ("see registry.np" + "mjs.org", True),
        ("http://deb.deb" + "ian.org/debian", True),
        ("cd /wo" + "rk/main", True),
        ("in /wo" + "rk", True),
        ("the .libr" + "ary folder", True),
        ("tmp/wo" + "rk/main and /wo" + "rkers and a.libr" + "ary()", False),
    ],
)
def test_a_word_out_of_place_is_found(text: str, found: bool) -> None:
    assert bool(texts.out_of_place(Source("a.md", text))) is found


def test_a_recipe_without_page_and_a_page_without_recipe_are_found() -> None:
    assert texts.undocumented(["a", "b"], ["a.md", "c.md", "README.md"]) == ["b.md", "c.md"]


def test_loose_and_missing_pins_are_found() -> None:
    constraints = "# why\nTypes_A==1.0\nb>=2\nc==1.*\n"
    assert texts.unpinned(["types-a>=0.5", "d[x]"], constraints) == ["b>=2", "c==1.*", "d"]


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ('"""What it holds."""\n\nimport b\n', True),
        ('"""What it holds.\n\nAnd more."""\n', True),
        ("", False),
        ('"""What it\nholds."""\n', False),
    ],
)
def test_a_folder_that_says_nothing_is_found(text: str, has: bool) -> None:
    assert texts.has_summary(Source("a/__init__.py", text)) is has


def test_a_deep_folder_is_found() -> None:
    names = ["slap/a/__init__.py", "slap/a/b.py", "slap/a/c.py", "slap/a/d/e/f.py"]
    assert texts.too_deep(names) == ["slap/a/d/e/f.py"]
