"""How things look."""

import io
from datetime import timedelta

import pytest

from slap.cli.formats import Cell, Shell, Table, fit
from slap.cli.output import Style, age, columns, duration, harmless, has_colours, paint, short_release
from tests.unit.cli.fakes import START


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (12.4, "12 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (86_399, "23 h 59 min"),
        (3_888_000 - 3600, "44 d 23 h"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0 s"), (0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (86400 * 9, "9 d")],
)
def test_ages(seconds: int, said: str) -> None:
    assert age(START - timedelta(seconds=seconds), START) == said


def test_what_never_was_has_no_age() -> None:
    assert age(None, START) == "never"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/srv/software/web/software.cfg", "web"),
        ("https://host/releases/1.2/web/software.cfg", "web"),
        ("/srv/software/web.cfg", "web"),
        ("software.cfg", "software"),
    ],
)
def test_a_release_is_called_by_its_folder(url: str, said: str) -> None:
    assert short_release(url) == said


def test_text_of_services_cannot_steer_the_terminal() -> None:
    assert harmless("a\x1b[2Jb\x07c\td\r\ne\x9b31m") == "ab\\x07c\td\ne\\x9b31m"


def test_only_a_terminal_gets_colours() -> None:
    assert not has_colours(io.StringIO())
    assert paint("x", Style.BAD, io.StringIO()) == "x"


def test_values_of_several_lines_stay_in_their_column() -> None:
    assert columns([("a", "1\n2"), ("long", "")], indent=1) == " a     1\n       2\n long"


@pytest.mark.parametrize(
    ("widths", "limit", "fitted"),
    [
        ([5, 30], None, [5, 30]),
        ([5, 30], 37, [5, 30]),
        ([5, 30], 25, [5, 18]),
        ([30, 30], 32, [15, 15]),
        ([30], 3, [8]),
    ],
)
def test_wide_columns_give_way_first_and_none_vanishes(widths: list[int], limit: int | None, fitted: list[int]) -> None:
    assert fit(widths, limit) == fitted


def test_a_table_in_a_pipe_is_not_cut_and_cells_may_have_lines() -> None:
    out = io.StringIO()
    Table().emit_list(("name", "text"), [("ü", "x" * 200), (Cell(3, "three\nlines"), None)], out, None)
    assert out.getvalue().splitlines() == ["NAME   TEXT", f"ü      {'x' * 200}", "three", "lines"]


def test_where_not_all_words_fit_the_short_ones_do() -> None:
    row = (Cell("http://example.com/wiki/software.cfg", short="wiki"), "x" * 20)
    for limit, line in ((40, f"wiki  {'x' * 20}"), (80, f"{row[0].text}  {'x' * 20}"), (20, f"wiki  {'x' * 13}…")):
        out = io.StringIO()
        Table(limit).emit_list(("url", "text"), [row], out, None)
        assert out.getvalue().splitlines()[1] == line


def test_a_message_without_room_beside_its_row_gets_a_line_below() -> None:
    rows = [("web", "error", "Promise url:\nrefused " + "x" * 80), ("db", "started", "")]
    narrow, wide = io.StringIO(), io.StringIO()
    Table(40).emit_list(("name", "status", "message"), rows, narrow, None)
    Table(120).emit_list(("name", "status", "message"), rows[1:], wide, None)
    assert narrow.getvalue().splitlines() == [
        "NAME  STATUS",
        "web   error",
        "  Promise url: refused xxxxxxxxxxxxxxxx…",
        "db    started",
    ]
    assert wide.getvalue().splitlines() == ["NAME  STATUS   MESSAGE", "db    started"]


def test_shell_output_is_safe_to_evaluate() -> None:
    out = io.StringIO()
    parsed = __import__("argparse").Namespace(prefix="my_")
    Shell().emit_one(("url-ipv6", "x;rm"), ("$(reboot)'", 7), out, parsed)
    assert out.getvalue() == "my_url_ipv6='$(reboot)'\"'\"''\nmy_x_rm=7\n"
