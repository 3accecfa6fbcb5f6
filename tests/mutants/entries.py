"""The entries of the *.toml files beside this one."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]


@dataclass(frozen=True)
class Mutant:
    """One defence, the code that is replaced to remove it, and the tests of which one must fail then."""

    defence: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]

    @property
    def line(self) -> int:
        """The first line that changes, by its number in the file."""
        text = (ROOT / self.file).read_text()
        return text[: text.index(self.find)].count("\n") + 1

    def apply(self, text: str) -> str:
        """The file's text without the defence; raises ValueError unless `find` is there exactly once."""
        if text.count(self.find) != 1:
            raise ValueError(f"{self.file}: found {text.count(self.find)} times: {self.find!r}")
        return text.replace(self.find, self.replace)


def list_mutants(folder: Path = FOLDER) -> list[Mutant]:
    """All entries, in the order of the files' names; raises TypeError or KeyError for one with wrong keys."""
    entries = [each for path in sorted(folder.glob("*.toml")) for each in tomllib.loads(path.read_text())["mutant"]]
    return [Mutant(**{**each, "tests": tuple(each["tests"])}) for each in entries]
