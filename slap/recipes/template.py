"""slap:template: a file made by Jinja2 from values of the buildout."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import jinja2
from jinja2.ext import ExprStmtExtension
from jinja2.sandbox import SandboxedEnvironment

from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import told_by
from slap.recipes.common.partition import InstancePart, PartReader
from slap.system.http import fetch_text

_INLINE = "inline"
_KINDS = ("key", "section", "raw", "json")


class Recipe(InstancePart):
    """Options: input or inline, output, mode, context. Undefined names are errors; ${...} passes through untouched."""

    guide = "template"

    def read(self, options: PartReader) -> None:
        self._name, self._source = _read_source(options, self.folder)
        self._output = self.path(options, "output", "")
        # A release is for all partitions to read; what is in a partition is its own.
        usual = "600" if "slap-connection" in self.buildout else "644"
        self._mode = options.mode("mode", usual)
        self._context = _Context(self.buildout, options).values()
        self.options["output"] = str(self._output)

    def install(self) -> list[str]:
        with told_by(self.name):
            # Read only now, for an earlier part may have made it.
            text = render(self.name, self._name, self._source(), self._context)
            return [self.place(self._output, text, self._mode)]


def render(
    part: str, name: str, text: str, context: Mapping[str, Any], put_in: Callable[[Any], Any] | None = None
) -> str:
    """The text of a template; an error names the template, the line and what is wrong there.

    `put_in` sees each value before it is put in, and raises ValueError for one that must not be.
    """
    # Not HTML, so nothing is escaped: profiles and configuration files are written with it.
    loader = jinja2.ChoiceLoader([jinja2.DictLoader({name: text}), jinja2.FileSystemLoader(str(Path(name).parent))])
    # Parameters may have got into the text itself, so what is run there is kept within its values.
    environment = SandboxedEnvironment(
        loader=loader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=put_in,
        extensions=[ExprStmtExtension],
    )  # fmt: skip
    environment.filters["tojson"] = _to_json
    try:
        return environment.get_template(name).render({"dumps": _to_json, **context})
    except jinja2.TemplateSyntaxError as error:
        raise _error(part, error.name or name, error.lineno, error.message or "") from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        known = f"It knows: {', '.join(sorted(context)) or 'nothing'}."
        raise _error(part, *_place(error.__traceback__, name), f"{error}\n{known}") from error


def _place(traceback: TracebackType | None, name: str) -> tuple[str, int]:
    """The innermost line of a template that an error came from; Jinja2 puts them into the traceback as if they were code."""
    place = (name, 0)
    while traceback:
        if not traceback.tb_frame.f_code.co_filename.endswith(".py"):
            place = (traceback.tb_frame.f_code.co_filename, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place if place[0] != "<template>" else (name, place[1])


def _error(part: str, template: str, line: int, words: str) -> RecipeError:
    return RecipeError(
        f"Part [{part}]: the template {template} fails in line {line}.",
        words,
        f"Correct the template, or give it the value in the context option of section [{part}].",
    )


def _to_json(value: Any, indent: int | None = None) -> str:
    """JSON as it is: the filter of Jinja2 escapes it for HTML."""
    return json.dumps(value, indent=indent, sort_keys=True)


def _read_source(options: OptionReader, base: Path) -> tuple[str, Callable[[], str]]:
    """The template's name and how to read it, from exactly one of `input` and `inline`, where ${ is written $${."""
    place, inline = options.text("input", ""), options.text(_INLINE, "").replace("$${", "${")
    if bool(place) == bool(inline):
        options.problem("input", "or inline: give exactly one of them")
    if not place:
        return _INLINE, lambda: inline + "\n"
    if place.startswith(("http://", "https://")):
        # What lies beside a profile from the network is trusted as far as the profile is.
        return place, lambda: fetch_text(place)
    return str(base / place), (base / place).read_text


class _Context:
    """The names that a template knows, from lines of four kinds."""

    def __init__(self, buildout: Mapping[str, Any], options: OptionReader) -> None:
        self._buildout = buildout
        self._options = options

    def values(self) -> dict[str, Any]:
        return dict(pair for line in self._options.lines("context") if (pair := self._pair(line)))

    def _pair(self, line: str) -> tuple[str, Any] | None:
        kind, name, rest = [*line.split(None, 2), "", "", ""][:3]
        if kind not in _KINDS or not name.isidentifier() or (not rest and kind != "raw"):
            self._problem(line, "write key NAME section:option, section NAME SECTION, raw NAME text or json NAME value")
            return None
        return name, self._read(kind, rest)

    def _read(self, kind: str, rest: str) -> Any:
        match kind:
            case "key":
                return self._key(rest)
            case "section":
                return self._section(rest)
            case "json":
                return self._json(rest)
        return rest

    def _key(self, reference: str) -> str:
        section, _, option = reference.partition(":")
        found = self._section(section)
        if option not in found:
            self._problem(reference, f"there is no such option; [{section}] has {', '.join(sorted(found)) or 'none'}")
        return found.get(option, "")

    def _section(self, name: str) -> dict[str, str]:
        if name not in self._buildout:
            self._problem(name, "there is no such section")
            return {}
        return dict(self._buildout[name])

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            self._problem(text, f"is not JSON: {error}")
            return None

    def _problem(self, line: str, words: str) -> None:
        self._options.problem("context", f"has {line!r}: {words}")
