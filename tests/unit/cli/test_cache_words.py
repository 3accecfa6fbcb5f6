"""What the commands about caches print, of documents that others wrote."""

from io import StringIO
from typing import Any

import pytest

from slap.cli.cache.bar import Bar, line
from slap.cli.cache.summary import provenance_words, sbom_words
from slap.system.clock import FakeClock


@pytest.mark.parametrize(
    ("done", "total", "ends"),
    [(0, 100, "  0 %  0 B of 100 B"), (50, 100, " 50 %  50 B of 100 B"), (200, 100, "100 %  200 B of 100 B")],
)
def test_the_bar(done: int, total: int, ends: str) -> None:
    assert line("wiki", done, total).startswith("wiki") and line("wiki", done, total).endswith(ends)
    assert len(line("w" * 99, done, total)) < 80


def test_the_bar_fits_on_a_terminal() -> None:
    assert len(line("w" * 99, 1023 << 20, 1023 << 20)) < 80


def test_without_a_total_there_is_no_bar() -> None:
    assert line("wiki", 1 << 20, 0).split() == ["wiki", "1.0", "MiB"]


class _Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_what_is_said_when_all_is_done_does_not_stand_behind_the_bar() -> None:
    terminal = _Terminal()
    with Bar(FakeClock(), terminal) as bar:
        bar("wiki", 50, 100)
        bar("wiki", 100, 100)
        assert "50 %" in terminal.getvalue() and terminal.getvalue().endswith("\r\x1b[K")
        before = terminal.getvalue()
    assert terminal.getvalue() == before


def test_what_is_no_terminal_sees_no_bar() -> None:
    file = StringIO()
    with Bar(FakeClock(), file) as bar:
        bar("wiki", 50, 100)
    assert not file.getvalue()


def test_a_bill_of_materials_in_words() -> None:
    components = [
        {"name": "zlib", "version": "1.3", "purl": "pkg:deb/debian/zlib@1.3?arch=source"},
        {"name": "requests", "version": "2.0", "purl": "pkg:pypi/requests@2.0"},
        {"name": "a.tar.gz"},
    ]
    assert sbom_words({"components": components}) == (
        "1 deb package, 1 file, 1 pypi package\na.tar.gz\nrequests 2.0\nzlib 1.3"
    )
    assert sbom_words({"components": components * 2}).startswith("2 deb packages, 2 files, 2 pypi packages\n")


@pytest.mark.parametrize(
    "document",
    [None, 7, [], {}, {"components": 7}, {"components": [7, None, {"name": []}]}, {"predicate": {"runDetails": 7}}],
)
def test_nonsense_is_no_defect(document: Any) -> None:
    assert isinstance(sbom_words(document), str) and isinstance(provenance_words(document), str)


def test_a_provenance_in_words() -> None:
    run = {
        "builder": {"id": "urn:slap:builder:me", "version": {"slap": "slap 1"}},
        "metadata": {"startedOn": "A", "finishedOn": "B"},
    }
    document = {
        "predicate": {
            "runDetails": run,
            "buildDefinition": {"resolvedDependencies": [{"uri": "http://x/a"}, {"name": "b"}, 7]},
        }
    }
    assert provenance_words(document) == "urn:slap:builder:me, slap 1\nA to B\nhttp://x/a\nb"
