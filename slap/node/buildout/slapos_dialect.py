"""What SlapOS profiles and recipes expect of buildout beyond zc.buildout; `speak` installs it.

- An option may hold any plain value, not only a string; in text that is !py!{...} (slap.model.option).
- `$$` stands for `$`. Sections of our own recipes keep what zc.buildout makes of it.
- ${:_profile_base_location_} is where the profile lies that says so (slap.node.buildout.profile_urls).
- A part is made anew when what it refers to has changed, not only when its own options have.

Values stay values here too: what was put in is never looked at again, and .installed.cfg has them as literals.
"""

import copy
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import zc.buildout.buildout
from zc.buildout import UserError
from zc.buildout.buildout import HistoryItem, MissingOption, SectionKey, _save_options

from slap.model import option as values
from slap.node.buildout import eggs, pip, profile_urls
from slap.node.buildout.record import read_record
from slap.system import files

_WHOLE = re.compile(r"\$\{[^}]*\}")
_MISSING = object()
_SIGNATURE, _PATHS = "__buildout_signature__", "__buildout_installed__"


class Options(zc.buildout.buildout.Options):  # type: ignore[misc]
    """A section whose options hold any plain value; substituted references are final."""

    def get(self, option: str, default: Any = None, seen: Any = None) -> Any:
        with suppress(KeyError):  # not a look beforehand: recipes give this a mapping that makes what is asked for
            return _copy(self._data[option])
        value = self._look_up(option, seen)
        if value is _MISSING:
            return default
        self._data[option] = value
        return _copy(value)

    def __getitem__(self, option: str) -> Any:
        value = self.get(option, _MISSING)
        if value is _MISSING:
            raise MissingOption(f"Missing option: {self.name}:{option}")
        return value

    def __setitem__(self, option: str, value: Any) -> None:
        self._data[option] = value if type(value) is str else values.plain(value)

    def copy(self) -> dict[str, Any]:
        """Recipes of SlapOS work on a copy: all that is in it counts as used."""
        look = self._peek if self._is_ours else self.get
        return {option: look(option) for option in self}

    def __eq__(self, other: object) -> bool:
        """Compared by buildout with what .installed.cfg says; `copy` leaves out what recipes keep out of that file."""
        return isinstance(other, Mapping) and for_file(self.copy()) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def _look_up(self, option: str, seen: Any = None) -> Any:
        if option in self._cooked:
            return self._cooked[option]
        text = self._raw.get(option)
        return _MISSING if text is None else self._evaluate(option, text, seen)

    def _peek(self, option: str) -> Any:
        with suppress(KeyError):
            return _copy(self._data[option])
        return _copy(self._look_up(option))

    def _dosub(self, option: str, text: str) -> None:
        self._cooked[option] = self._evaluate(option, text, None)

    def _evaluate(self, option: str, text: str, seen: Any) -> Any:
        __doing__ = "Getting option %s:%s.", self.name, option  # noqa: F841 (buildout tells it with an error)
        if text.startswith(values.MAGIC):
            return self._loaded(option, text)
        if "$" not in text:
            return text
        with _entered([] if seen is None else seen, (self.name, option)) as path:
            if _WHOLE.fullmatch(text):
                return self._refer(text, path)
            # Our own recipes read $${ by themselves, as zc.buildout leaves it.
            dollar = "$$" if self._is_ours else "$"
            return dollar.join(self._sub(piece, path) for piece in text.split("$$"))

    @property
    def _is_ours(self) -> bool:
        return str(self._raw.get("recipe", "")).startswith("slap:")

    def _loaded(self, option: str, text: str) -> Any:
        try:
            return values.loads(text)
        except ValueError as error:
            raise UserError(f"Option {self.name}:{option}: {error}") from error

    def _sub(self, template: str, seen: Any) -> str:
        """A text with what it refers to put in. Recipes call this too."""
        pieces = self._template_split(template)
        pieces[1::2] = [values.as_text(self._refer(reference, seen)) for reference in pieces[1::2]]
        return "".join(pieces)

    def _refer(self, reference: str, seen: Any) -> Any:
        if not self._valid(reference):
            return super()._sub(reference, seen)  # tells what is wrong with it
        section, option = reference[2:-1].split(":")
        value = self.buildout[section or self.name].get(option, _MISSING, seen)
        if value is not _MISSING:
            return value
        if option == "_buildout_section_name_":
            return self.name
        if option == profile_urls.BASE:
            return self.buildout.base_of(section or self.name)
        raise MissingOption("Referenced option does not exist:", section or self.name, option)


class Installed(zc.buildout.buildout.Options):  # type: ignore[misc]
    """A section of .installed.cfg: its texts are final, and stand for values."""

    def get(self, option: str, default: Any = None, seen: Any = None) -> Any:
        text = self._data.get(option, self._raw.get(option, _MISSING))
        return default if text is _MISSING else values.read(text)

    def __getitem__(self, option: str) -> Any:
        value = self.get(option, _MISSING)
        if value is _MISSING:
            raise MissingOption(f"Missing option: {self.name}:{option}")
        return value


class Buildout(zc.buildout.buildout.Buildout):  # type: ignore[misc]
    """A buildout that knows which sections each of its sections refers to, and keeps .installed.cfg whole."""

    Options = Options

    def __init__(self, *args: Any, **options: Any) -> None:
        self._making: list[str] = []
        self._needs: dict[str, set[str]] = defaultdict(set)
        self._record: dict[str, dict[str, str]] = {}
        super().__init__(*args, **options)

    def __getitem__(self, section: str) -> Any:
        if self._making:
            self._needs[self._making[-1]].add(section)
        if section in self._data:
            return self._data[section]
        self._making.append(section)
        try:
            return super().__getitem__(section)
        finally:
            self._making.pop()

    def base_of(self, section: str) -> str:
        """The location of the profile that set a section last."""
        keys = self._annotated.get(section, {}).values()
        profiles = [key.source for key in keys if isinstance(key, SectionKey) and "/" in str(key.source)]
        if not profiles:
            raise MissingOption("Referenced option does not exist:", section, profile_urls.BASE)
        return profile_urls.base_of(profiles[-1])

    def _load_extensions(self) -> None:
        self["buildout"]["extensions"] = eggs.extensions(self["buildout"].get("extensions", ""))
        super()._load_extensions()

    def _compute_part_signatures(self, parts: Sequence[str]) -> None:
        super()._compute_part_signatures(parts)
        for part in parts:
            if needs := sorted(self._all_needs(part)):
                self[part][_SIGNATURE] += f" {self._digest(needs)}"

    def _all_needs(self, part: str) -> set[str]:
        """The sections that a part refers to, also through others; [buildout] is left out."""
        found: set[str] = set()
        waiting = {part}
        while waiting:
            found |= waiting
            waiting = {need for section in waiting for need in self._needs[section]} - found - {"buildout"}
        return found - {part}

    def _digest(self, sections: Sequence[str]) -> str:
        digest = sha256()
        for name in sections:
            options = for_file(self[name].copy())
            digest.update(repr((name, sorted(item for item in options.items() if item[0] != _SIGNATURE))).encode())
        return digest.hexdigest()[:32]

    def _read_installed_part_options(self) -> tuple[dict[str, Any], bool]:
        path = Path(self["buildout"]["installed"])
        exists = os.path.lexists(path)  # also for a pipe, which is refused, and not waited for
        found = read_record(path) if exists else {"buildout": {"parts": ""}}
        sections = {name: Installed(self, name, _with_spaces(options)) for name, options in found.items()}
        self._record = {name: dict(section.copy()) for name, section in sections.items()}
        return sections, exists

    def _save_installed_options(self, installed: Mapping[str, Mapping[str, Any]]) -> None:
        self._record = {name: _texts(options) for name, options in installed.items()}
        self._write_record()

    def _update_installed(self, **changes: str) -> None:
        """Update [buildout] in place: zc.buildout appends a second one, which other readers fail on."""
        self._record["buildout"] |= changes
        self._write_record()

    def _write_record(self) -> None:
        if path := self["buildout"]["installed"]:
            text = io.StringIO()
            for name in ["buildout", *self._record["buildout"]["parts"].split()]:
                _save_options(name, self._record[name], text)
            files.write_if_changed(Path(path), text.getvalue(), 0o600 if "slap-connection" in self._raw else 0o644)


def speak() -> None:
    """Patch buildout in this process so that it understands profiles of SlapOS."""
    buildout = zc.buildout.buildout
    buildout.Options, buildout.Buildout = Options, Buildout
    buildout.dumps, buildout.loads = values.dumps, values.loads
    # Eggs lie right in eggs-directory: profiles hand that path on to the next buildout, which would add to it again.
    buildout._buildout_default_options["eggs-directory-version"] = SectionKey("", "DEFAULT_VALUE")
    # Sections are copied for each file that extends another: with their history, that is a third of a small run's work.
    SectionKey.__deepcopy__, HistoryItem.__deepcopy__ = _copied_key, _same
    profile_urls.speak()
    eggs.speak()
    pip.speak()


def _copied_key(key: Any, memo: object) -> Any:
    """A copy of a key with its history so far, which does not change any more."""
    copied = SectionKey.__new__(SectionKey)
    copied.value, copied.history = key.value, list(key.history)
    return copied


def _same(item: Any, memo: object) -> Any:
    return item


def _with_spaces(options: Mapping[str, str]) -> dict[str, str]:
    """Options as they were before zc.buildout escaped white space in them."""
    return {name: _unescaped(value) if "%(" in value else value for name, value in options.items()}


def _unescaped(value: str) -> str:
    for escape, text in zc.buildout.buildout._spacey_defaults:
        value = value.replace(escape, text)
    return value


def for_file(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if name == _PATHS else values.for_file(value) for name, value in options.items()}


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """What was read from the file is text already."""
    return dict(options.copy()) if isinstance(options, Installed) else for_file(options)


def _copy(value: Any) -> Any:
    """A deep copy of a value, so that changing it does not change the option."""
    return value if isinstance(value, str) else copy.deepcopy(value)


@contextmanager
def _entered(path: list[tuple[str, str]], option: tuple[str, str]) -> Iterator[list[tuple[str, str]]]:
    if option in path:
        raise UserError("Circular reference in substitutions.\n")
    path.append(option)
    try:
        yield path
    finally:
        path.pop()
