"""Parts of instances: how they read options, what they know of their partition, and how they leave files.

Values that came from strangers stay values: nothing in them is read as buildout's syntax, in memory or on disk. Buildout
looks for ${section:option} in values that were put in by such a reference, so that a parameter with the text
${db:password} would be answered. It also keeps all values in .installed.cfg, where a carriage return starts a new line,
and so could start a section whose header has an expression that buildout evaluates.

The node's builder speaks the dialect of SlapOS profiles, where options hold values that are not strings too; what is said
here holds with it and without it.
"""

import io
import os.path
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any, ClassVar

from zc.buildout.buildout import Options, _save_options

from slap.client.partition import read_context
from slap.model.node import PartitionContext
from slap.model.option import for_file
from slap.recipes.common.base import OptionReader
from slap.system import files

_PATHS = "__buildout_installed__"

# What can stand in ${section:option}, and as a name in a profile.
_OPTION_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_UNFIT_FOR_PATH = re.compile(r"[\x00-\x1f\x7f]|\$\{|%\(")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,79}")

_VERSION = f"slap {version('slap')}"
_OURS = {point.name: point for point in entry_points(group="zc.buildout") if point.value.startswith("slap.")}


class LiteralOptions(Options):
    """A section in which a value that was put in by ${section:option} is never looked at again."""

    def get(self, option: str, default: Any = None, seen: Any = None) -> Any:
        if option in self._cooked:
            return self._data.setdefault(option, self._cooked[option])
        return super().get(option, default, seen)

    def initialize(self) -> None:
        """As buildout does it, but without making sure for each part that all that our package needs is there."""
        package, _, entry = self["recipe"].partition(":")
        if package != "slap" or entry not in _OURS:
            super().initialize()
        else:
            self.recipe = _OURS[entry].load()(self.buildout, self.name, self)

    def split(self, option: str, split: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
        """Split an option as the profile has it, before values are put in: no value makes words or lines of its own."""
        self.get(option)  # or buildout would call the option unused
        return tuple(self._put_in(option, piece) for piece in split(self._raw.get(option, "")))

    def __eq__(self, other: object) -> bool:
        """Compared by buildout with what .installed.cfg says."""
        return isinstance(other, Mapping) and _encoded(self.copy()) == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def _put_in(self, option: str, text: str) -> str:
        return "$$".join(self._sub(piece, [(self.name, option)]) for piece in text.split("$$"))


class _Ledger:
    """Keeps .installed.cfg in place of buildout: encoded, replaced as a whole, and left alone when nothing changed."""

    def __init__(self, buildout: Any) -> None:
        self._path = Path(buildout["buildout"]["installed"])
        self._append = buildout._update_installed
        self._sign = buildout._compute_part_signatures
        self._sections = buildout
        self._parts: set[str] | None = None

    def sign(self, parts: Sequence[str]) -> None:
        """Say which version of its recipe each part is made by; resolving all that ours need takes long."""
        ours = [part for part in parts if self._sections[part]["recipe"].startswith("slap:")]
        for part in ours:
            self._sections[part]["__buildout_signature__"] = _VERSION
        self._sign([part for part in parts if part not in ours])

    def save(self, installed: Mapping[str, Mapping[str, str]]) -> None:
        parts = installed["buildout"]["parts"].split()
        text = io.StringIO()
        for name in ["buildout", *parts]:
            options = installed[name]
            # What was read from the file is encoded already.
            _save_options(name, options.copy() if isinstance(options, Options) else _encoded(options), text)
        files.write_if_changed(self._path, text.getvalue(), 0o600)
        self._parts = set(parts)

    def update(self, **options: str) -> None:
        parts = set(options.get("parts", "").split())
        if parts != self._parts:
            self._append(**options)
        if "parts" in options:
            self._parts = parts


def keep_values_literal(buildout: Any) -> None:
    """From now on, and also in the sections that are being read just now, values are literal."""
    if buildout.Options is LiteralOptions:
        return
    buildout.Options = LiteralOptions
    for section in buildout._data.values():
        section.__class__ = LiteralOptions
    ledger = _Ledger(buildout)
    buildout._compute_part_signatures = ledger.sign
    buildout._save_installed_options = ledger.save
    buildout._update_installed = ledger.update


class PartReader(OptionReader):
    """Reads options whose lines and words are those of the profile, whatever the values in them."""

    def __init__(self, part: str, options: LiteralOptions) -> None:
        super().__init__(part, options)
        self._literal = options

    def exact(self, name: str) -> str:
        """An option's text with the space around it; empty when it is not there."""
        return str(self._literal.get(name, ""))

    def lines(self, name: str) -> tuple[str, ...]:
        return self._literal.split(name, _lines)

    def shell_words(self, name: str) -> tuple[str, ...]:
        """Words as a shell would split them, quotes and all; nothing else of a shell happens to them."""
        try:
            return self._literal.split(name, shlex.split)
        except ValueError as error:
            self.problem(name, f"cannot be split into words: {error}")
            return ()

    def prefixed(self, prefix: str) -> dict[str, str]:
        """The options whose names start with a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): self.exact(name) for name in self._literal if name.startswith(prefix)}

    def seconds(self, name: str, default: float) -> float:
        return self.parsed(name, self.text(name, str(default)), float, "a number of seconds", default)


class InstancePart:
    """A recipe of an instance profile. `read` takes the options and sets others; `install` returns the files it made.

    An update is the same as an installation: what did not change is not written.
    """

    guide: ClassVar[str]  # its page in the reference

    def __init__(self, buildout: Any, name: str, options: Any) -> None:
        keep_values_literal(buildout)
        self.buildout = buildout
        self.name = name
        self.options: dict[str, str] = options
        self.folder = Path(buildout["buildout"]["directory"])
        reader = PartReader(name, options)
        self.read(reader)
        reader.finish(self.guide)

    def read(self, options: PartReader) -> None:
        """Take what the part needs from its options, noting what is wrong with them."""

    def install(self) -> list[str]:
        """Make the files of this part; buildout removes them when the part is gone."""
        return []

    def update(self) -> list[str]:
        return self.install()

    @property
    def context(self) -> PartitionContext:
        return read_context(Path(self.buildout["slap-connection"]["context"]).parent)

    def file_name(self, options: PartReader) -> str:
        """The option `name`: what the part's files are called, by default as the part."""
        name = options.text("name", self.name)
        if not _FILE_NAME.fullmatch(name):
            options.problem("name", f"is {name!r}: write up to 80 letters, digits and any of _ . @ + -")
        return name

    def path(self, options: PartReader, name: str, default: str) -> Path:
        """An option that is the path of a file below the partition's folder."""
        text = options.text(name, default or None, f"the path of a file below {self.folder}")
        path = Path(os.path.normpath(self.folder / text))
        if (text and self.folder not in path.parents) or _UNFIT_FOR_PATH.search(str(path)):
            options.problem(name, f"is {str(path)!r}: write the path of a file below {self.folder}")
        return path

    def place(self, path: Path, content: str, mode: int = 0o600) -> str:
        """Write a file unless it is as it shall be; its path, as buildout wants it from `install`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_if_changed(path, content, mode)
        return str(path)


def is_option_name(name: str) -> bool:
    """Whether a name that a stranger chose can be part of an option's name."""
    return _OPTION_NAME.fullmatch(name) is not None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _encoded(options: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if name == _PATHS else for_file(value) for name, value in options.items()}
