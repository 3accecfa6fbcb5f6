"""The figures of the house style, measured over syntax trees. Nothing here reads a file."""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeGuard

from tests.house.sources import Source

STARTS_PROGRAMS = re.compile(r"os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?)|\w+\.create_subprocess_\w+")
PROGRAM_MODULES = {"subprocess", "multiprocessing", "pty"}
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.putenv", "os.unsetenv"}
UNFINISHED = re.compile("TO" + "DO|FIX" + "ME|XX" + "X")
LOGS_WHOLE = {"exception", "print_exc", "set_exception"}
BROAD = {"", "Exception", "BaseException"}

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Figure:
    """One number, and where it was found."""

    value: int
    where: str


def functions(source: Source) -> Iterator[AnyFunction]:
    return (node for node in ast.walk(source.tree) if isinstance(node, AnyFunction))


def body_lengths(sources: Iterable[Source]) -> list[Figure]:
    return [Figure(_body_length(f, s.text.splitlines()), _where(s, f)) for s in sources for f in functions(s)]


def file_lengths(sources: Iterable[Source]) -> list[Figure]:
    return [Figure(len(source.text.splitlines()), source.name) for source in sources]


def parameter_counts(sources: Iterable[Source]) -> list[Figure]:
    return [
        Figure(len(_named(function)), _where(source, function)) for source in sources for function in functions(source)
    ]


def untyped(sources: Iterable[Source]) -> list[str]:
    return [_where(source, function) for source in sources for function in functions(source) if not _is_typed(function)]


def inner_imports(sources: Iterable[Source]) -> list[str]:
    return [
        _where(source, node)
        for source in sources
        for function in functions(source)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


def unfinished(sources: Iterable[Source]) -> list[str]:
    return [
        f"{source.name}:{number}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]


def starts_programs(source: Source) -> bool:
    return bool(PROGRAM_MODULES & roots(source)) or any(STARTS_PROGRAMS.fullmatch(name) for name in names(source))


def reads_environment(source: Source) -> bool:
    return bool(ENVIRONMENT & names(source))


def broad_excepts(source: Source) -> list[ast.ExceptHandler | ast.Call]:
    """Handlers, and uses of contextlib.suppress, that swallow what nobody thought of."""
    return [node for node in ast.walk(source.tree) if _is_broad_handler(node) or _is_broad_suppress(node)]


def keeps_whole(node: ast.AST) -> bool:
    """Whether nothing of a caught error is lost: it is logged with its traceback, or is itself handed on."""
    calls = (inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call))
    logged = any(isinstance(function, ast.Attribute) and function.attr in LOGS_WHOLE for function in calls)
    name = node.name if isinstance(node, ast.ExceptHandler) else None
    assigned = (inner.value for inner in ast.walk(node) if isinstance(inner, ast.Assign))
    return logged or any(isinstance(value, ast.Name) and value.id == name for value in assigned)


def patches(source: Source) -> int:
    """How often a test replaces something under the feet of the code, instead of passing a fake in."""
    asked = sum(argument.arg in ("monkeypatch", "mocker") for f in functions(source) for argument in _named(f))
    return asked + sum(bool(re.search(r"(^|\.)patch($|\.)", name)) for name in _called(source))


def tests(source: Source) -> int:
    return sum(function.name.startswith("test_") for function in functions(source))


def percentile(figures: Sequence[Figure], share: float) -> Figure:
    """The figure that `share` of all are not above."""
    ordered = sorted(figures, key=lambda figure: figure.value)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def names(source: Source) -> set[str]:
    """All dotted names that a source uses, those that it imports included."""
    attributes = (node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute))
    return {ast.unparse(node) for node in attributes} | imported(source)


def imported(source: Source) -> set[str]:
    """What a source imports, as full dotted names: `from a import b` counts as a.b."""
    return set(chain.from_iterable(_imported_by(node) for node in ast.walk(source.tree)))


def roots(source: Source) -> set[str]:
    return {name.split(".")[0] for name in imported(source)}


def _imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names]
    return []


def _body_length(function: AnyFunction, lines: list[str]) -> int:
    """Lines of the body that hold something: neither its docstring nor blank lines nor comments."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    spans = (lines[statement.lineno - 1 : statement.end_lineno] for statement in body)
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in chain.from_iterable(spans))


def _named(function: AnyFunction) -> list[ast.arg]:
    arguments = function.args.posonlyargs + function.args.args
    bound = arguments[:1] if arguments and arguments[0].arg in ("self", "cls") else []
    return arguments[len(bound) :] + function.args.kwonlyargs


def _is_typed(function: AnyFunction) -> bool:
    rest = [argument for argument in (function.args.vararg, function.args.kwarg) if argument]
    return function.returns is not None and all(argument.annotation for argument in _named(function) + rest)


def _is_broad_handler(node: ast.AST) -> TypeGuard[ast.ExceptHandler]:
    return isinstance(node, ast.ExceptHandler) and bool(_caught(node.type) & BROAD)


def _is_broad_suppress(node: ast.AST) -> TypeGuard[ast.Call]:
    if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] != "suppress":
        return False
    return any(_caught(argument) & BROAD for argument in node.args)


def _caught(kind: ast.expr | None) -> set[str]:
    kinds = kind.elts if isinstance(kind, ast.Tuple) else [kind]
    return {ast.unparse(one).split(".")[-1] if one else "" for one in kinds}


def _called(source: Source) -> list[str]:
    calls = (node for node in ast.walk(source.tree) if isinstance(node, ast.Call))
    return [ast.unparse(call.func) for call in calls if isinstance(call.func, ast.Name | ast.Attribute)]


def _where(source: Source, node: ast.stmt) -> str:
    return f"{source.name}:{node.lineno} {getattr(node, 'name', '')}".rstrip()
