"""The figures of the house style hold; and each check is shown to fail on a made-up source."""

from collections.abc import Callable, Iterable
from statistics import median

import pytest

from tests.house import figures
from tests.house.figures import Figure
from tests.house.sources import Source, measured_code, python_of

CODE = measured_code()
STARTS_PROGRAMS = "slap/system/process.py"
READS_ENVIRONMENT = "slap/system/environment.py"

# Loops that must outlive whatever happens in one turn: one broad except each, which loses nothing of the error.
DAEMON_LOOPS = {
    "slap/node/core/scheduler.py",  # a fault in the work for one partition must not end that for the others
    "slap/node/buildout/run.py",  # runs recipes, which are anybody's code
    "slap/node/promise/plugin_host.py",  # runs promise plugins, which are too
    "slap/node/promise/plugin_base.py",  # and so is what they are made of
    "slap/master/database/sqlite.py",  # the one writer runs everybody's transactions, and raises where they were ordered
}


def test_there_is_code_to_measure() -> None:
    assert {STARTS_PROGRAMS, READS_ENVIRONMENT} <= {source.name for source in CODE}


@pytest.mark.parametrize(
    ("measure", "middle", "most", "longest"),
    [(figures.body_lengths, 4, 20, 40), (figures.file_lengths, 120, 300, 400)],
)
def test_functions_and_files_are_short(
    measure: Callable[[Iterable[Source]], list[Figure]], middle: int, most: int, longest: int
) -> None:
    found = measure(CODE)
    assert median(figure.value for figure in found) <= middle
    assert figures.percentile(found, 0.95).value <= most
    assert _over(found, longest) == []


def test_no_function_takes_more_than_six_parameters() -> None:
    assert _over(figures.parameter_counts(CODE), 6) == []


@pytest.mark.parametrize("find", [figures.untyped, figures.inner_imports, figures.unfinished])
def test_there_is_no(find: Callable[[Iterable[Source]], list[str]]) -> None:
    assert find(CODE) == []


def test_one_file_starts_programs() -> None:
    assert [source.name for source in CODE if figures.starts_programs(source)] == [STARTS_PROGRAMS]


def test_one_file_reads_the_environment() -> None:
    assert [source.name for source in CODE if figures.reads_environment(source)] == [READS_ENVIRONMENT]


def test_errors_are_caught_by_name() -> None:
    found = {source.name: figures.broad_excepts(source) for source in CODE}
    assert [f"{name}:{node.lineno}" for name, nodes in found.items() for node in nodes[name in DAEMON_LOOPS :]] == []
    assert [
        f"{name}:{node.lineno}" for name, nodes in found.items() for node in nodes if not figures.keeps_whole(node)
    ] == []


def test_unit_tests_pass_fakes_in() -> None:
    sources = python_of("tests/unit")
    assert sum(map(figures.patches, sources)) <= 0.05 * sum(map(figures.tests, sources))


def test_body_lengths_count_what_holds_something() -> None:
    text = 'def f():\n    """Says.\n    more."""\n    # why\n    a = (\n        1,\n    )\n\n    return a\n'
    assert figures.body_lengths([Source("a.py", text)]) == [Figure(4, "a.py:1 f")]


def test_a_long_file_and_many_parameters_are_found() -> None:
    source = Source("a.py", "class A:\n    def f(self, a, b, /, c, *, d): ...\n" + "\n" * 500)
    assert _over(figures.file_lengths([source]), 400) == ["a.py: 502"]
    assert _over(figures.parameter_counts([source]), 3) == ["a.py:2 f: 4"]


@pytest.mark.parametrize(
    ("find", "text", "found"),
    [
        (figures.untyped, "def f(a: int): ...", True),
        (figures.untyped, "def f(a) -> None: ...", True),
        (figures.untyped, "def f(*a) -> None: ...", True),
        (figures.untyped, "class A:\n    async def f(self, *, a: int) -> None: ...", False),
        (figures.inner_imports, "def f():\n    if a:\n        from b import c", True),
        (figures.inner_imports, "if a:\n    import b", False),
        (figures.unfinished, "a = 1  # TO" + "DO later", True),
    ],
)
def test_a_bad_source_is_found(find: Callable[[Iterable[Source]], list[str]], text: str, found: bool) -> None:
    assert bool(find([Source("a.py", text)])) is found


@pytest.mark.parametrize(
    ("check", "text", "found"),
    [
        (figures.starts_programs, "import subprocess", True),
        (figures.starts_programs, "from os import execv", True),
        (figures.starts_programs, "import os\nos.posix_spawn(a, b, c)", True),
        (figures.starts_programs, "import asyncio\nasyncio.create_subprocess_exec(a)", True),
        (figures.starts_programs, "import os\nos.fork()", False),
        (figures.reads_environment, "import os\nos.environ['A']", True),
        (figures.reads_environment, "from os import getenv", True),
        (figures.reads_environment, "from slap.system.environment import variable", False),
        (figures.broad_excepts, "try:\n    a\nexcept:\n    b", True),
        (figures.broad_excepts, "try:\n    a\nexcept (KeyError, Exception):\n    b", True),
        (figures.broad_excepts, "with contextlib.suppress(BaseException):\n    a", True),
        (figures.broad_excepts, "try:\n    a\nexcept (KeyError, OSError):\n    b", False),
        (figures.patches, "def test_a(monkeypatch): ...", True),
        (figures.patches, "from unittest import mock\nmock.patch('a')", True),
        (figures.patches, "import a\na.dispatch()", False),
    ],
)
def test_a_bad_habit_is_found(check: Callable[[Source], object], text: str, found: bool) -> None:
    assert bool(check(Source("a.py", text))) is found


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ("log.exception('It failed.')", True),
        ("work.error = error", True),
        ("log.error('It failed.')", False),
        ("work.error = str(error)", False),
    ],
)
def test_a_swallowed_error_is_told_from_one_that_is_kept(body: str, kept: bool) -> None:
    (handler,) = figures.broad_excepts(Source("a.py", f"try:\n    a\nexcept Exception as error:\n    {body}"))
    assert figures.keeps_whole(handler) is kept


def test_percentiles_ignore_the_few_at_the_top() -> None:
    found = [Figure(value, "") for value in range(100)]
    assert figures.percentile(found, 0.95).value == 95


def _over(found: list[Figure], limit: int) -> list[str]:
    return [f"{figure.where}: {figure.value}" for figure in found if figure.value > limit]
