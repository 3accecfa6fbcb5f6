"""What the checks of the house look at: our own code and texts, as they lie in the work tree."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = ("slap", "software", "ansible")
NOT_MEASURED = {"tests", "bench", "migrations"}
# Folders that tools and runs leave behind: at the root of the repository, and anywhere.
LEFT_AT_ROOT = {"var", "build"}
LEFT_ANYWHERE = {"__pycache__", "node_modules"}
TEXTS = {".py", ".md", ".cfg", ".toml", ".txt", ".json", ".jinja2", ".sh", ".yml", ".yaml", ".html", ".js", ".css", ""}


@dataclass(frozen=True)
class Source:
    """A file by its path in the repository."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        """The second part of slap/ROOM/..., and nothing for what is not in a room of slap."""
        parts = self.name.split("/")
        return parts[1] if parts[0] == "slap" and len(parts) > 2 else ""


def measured_code(root: Path = ROOT) -> list[Source]:
    """The Python that the figures hold for: neither tests nor benches nor migrations."""
    names = [name for folder in CODE for name in files(folder, root) if name.endswith(".py")]
    return [read(name, root) for name in names if not NOT_MEASURED & set(name.split("/"))]


def python_of(folder: str) -> list[Source]:
    return [read(name) for name in files(folder) if name.endswith(".py")]


def all_texts() -> list[Source]:
    return [read(name) for name in files(".") if Path(name).suffix in TEXTS]


def documents() -> list[Source]:
    return [source for source in all_texts() if source.name.endswith(".md")]


def read(name: str, root: Path = ROOT) -> Source:
    return Source(name, (root / name).read_text(errors="replace"))


def files(folder: str, root: Path = ROOT) -> list[str]:
    """All files in a folder of a repository, sorted, without what tools and runs leave behind."""
    return sorted(_walk(root / folder, root))


def _walk(folder: Path, root: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _is_ours(name, Path(parent) == root)]
        # In a second work tree of one repository this is a file, and names the first one's place.
        yield from (os.path.relpath(os.path.join(parent, name), root) for name in names if name != ".git")


def _is_ours(folder: str, is_at_root: bool) -> bool:
    hidden = folder.startswith(".") and folder != ".ci"
    left = LEFT_ANYWHERE | LEFT_AT_ROOT if is_at_root else LEFT_ANYWHERE
    return not hidden and folder not in left and not folder.endswith(".egg-info")
