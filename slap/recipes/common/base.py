"""What recipes share: errors that buildout shows without a traceback, and options whose problems are told all at once."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import TypeVar

import pkg_resources
from zc.buildout import UserError
from zc.buildout.buildout import _dir_hashes

from slap.model.errors import BuildFailed

Value = TypeVar("Value")

_ON = frozenset({"true", "yes", "on", "1"})
_OFF = frozenset({"false", "no", "off", "0"})
_SIZE = re.compile(r"(\d+)\s*([KMGT]?)", re.IGNORECASE)
_MODE = re.compile(r"0?[0-7]{3}")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class RecipeError(BuildFailed, UserError):
    """A part cannot be made: buildout prints it as it is, and the node reports it."""


class OptionReader:
    """Reads the options of one part. Every problem is kept until `finish`, which raises one error that names them all."""

    def __init__(self, part: str, options: Mapping[str, str]) -> None:
        self._part = part
        self._options = options
        self._problems: list[str] = []

    def text(self, name: str, default: str | None = None, what: str = "") -> str:
        """An option's text. Without a default it is required; `what` says what to put there."""
        value = self._options.get(name, "").strip()
        if not value and default is None:
            self.problem(name, f"is missing{f': {what}' if what else ''}")
        return value or default or ""

    def flag(self, name: str, default: bool = False) -> bool:
        value = self.text(name, "true" if default else "false").lower()
        if value not in _ON | _OFF:
            self.problem(name, f"is {value!r}: write true or false")
        return value in _ON

    def number(self, name: str, default: int | None = None) -> int:
        value = self.text(name, None if default is None else str(default), "a whole number")
        return self.parsed(name, value, int, "a whole number", default or 0)

    def size(self, name: str, default: str = "0") -> int:
        """Bytes, from a number with an optional unit of K, M, G or T."""
        return self.parsed(name, self.text(name, default), parse_size, "a size such as 512M", 0)

    def mode(self, name: str, default: str) -> int:
        """Permissions of a file, three octal digits."""
        return self.parsed(name, self.text(name, default), parse_mode, "three octal digits, such as 644", 0)

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(self._options.get(name, "").split())

    def lines(self, name: str) -> tuple[str, ...]:
        """The lines of an option that are not empty, without the space around them."""
        return tuple(line.strip() for line in self._options.get(name, "").splitlines() if line.strip())

    def pairs(self, name: str) -> dict[str, str]:
        """Lines of the form NAME = value."""
        pairs = {}
        for line in self.lines(name):
            key, sign, value = line.partition("=")
            if not sign or not key.strip():
                self.problem(name, f"has the line {line!r}: write NAME = value")
            pairs[key.strip()] = value.strip()
        return pairs

    def matching(self, name: str, pattern: str, what: str, default: str | None = None) -> str:
        """An option's text, of which the whole must match."""
        value = self.text(name, default, what)
        if value and value != default and not re.fullmatch(pattern, value):
            self.problem(name, f"is {value!r}: write {what}")
        return value

    def parsed(self, name: str, value: str, parse: Callable[[str], Value], what: str, otherwise: Value) -> Value:
        """What `parse` makes of a value, or `otherwise` and a problem when it raises ValueError."""
        try:
            return parse(value) if value else otherwise
        except ValueError:
            self.problem(name, f"is {value!r}: write {what}")
            return otherwise

    def problem(self, name: str, words: str) -> None:
        """Note that an option is wrong; `words` follow its name."""
        self._problems.append(f"option {name} {words}")

    def finish(self, recipe: str = "") -> None:
        """Raise one error about everything that is wrong, if anything is."""
        if self._problems:
            raise options_error(self._part, list(dict.fromkeys(self._problems)), recipe)


def options_error(part: str, problems: Sequence[str], recipe: str = "") -> RecipeError:
    details = "\n".join(f"- {problem}" for problem in problems)
    where = f", see docs/reference/recipes/{recipe}.md" if recipe else ""
    return RecipeError(f"The options of part [{part}] are wrong.", details, f"Correct section [{part}]{where}.")


def parse_mode(text: str) -> int:
    if not _MODE.fullmatch(text):
        raise ValueError(text)
    return int(text, 8)


def parse_size(text: str) -> int:
    match = _SIZE.fullmatch(text.strip().removesuffix("B"))
    if not match:
        raise ValueError(text)
    return int(match[1]) * _UNITS[match[2].upper()]


def _tell_packages_by_version() -> None:
    """Spare buildout to read all files of all folders that packages are in, to see whether recipes changed.

    It takes most of a second, and fails when another process has a socket in one of them.
    """
    versions = defaultdict(list)
    for package in pkg_resources.working_set:
        versions[package.location].append(f"{package.project_name}=={package.version}")
    for folder, packages in versions.items():
        _dir_hashes.setdefault(folder, sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12])


_tell_packages_by_version()
# Slow the first time, so not in each fork; and what a fork's user may not read is known by then.
pkg_resources.working_set.resolve([pkg_resources.Requirement.parse("slap")])
pkg_resources.get_distribution("slap").get_entry_map()
