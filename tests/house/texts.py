"""Pure checks of documents, of the packaging, and of the shape of the tree."""

import ast
import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from posixpath import dirname, join, normpath

from tests.house.sources import Source

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
REQUIREMENT = re.compile(r"^[A-Za-z0-9._-]+")
PIN = re.compile(r"^([A-Za-z0-9._-]+)==[^\s=*;]+$")

# Written in parts, so that this very file passes. Registries are found by their clients' own configuration.
HOSTS = re.compile(
    "|".join(
        (
            "pypi" + r"\.(org|python\.org)", "python" + r"hosted\.org", r"registry\.np" + r"mjs\.\w+",
            r"(deb|ftp|security|snapshot|archive)\.(\w+\.)?debian" + r"\.(org|net)", r"proxy\.go" + r"lang\.org",
        )
    )
)  # fmt: skip
PLACES = re.compile(r"(?<![\w.}$~/-])/wo" + r"rk(/|\b)|(^|[\s/\"'`])\.libr" + r"ary\b", re.MULTILINE)


def broken_links(document: Source, exists: Iterable[str]) -> list[str]:
    """Relative links of a document to files and folders that are not there."""
    known = _with_folders(exists)
    targets = (target.partition("#")[0] for target in LINK.findall(FENCE.sub("", document.text)))
    relative = (target for target in targets if target and not re.match(r"[a-z]+:", target))
    return [f"{document.name}: {t}" for t in relative if normpath(join(dirname(document.name), t)) not in known]


def out_of_place(source: Source) -> list[str]:
    """Mentions of registries and of places that exist on one machine only."""
    found = (match.group() for pattern in (HOSTS, PLACES) for match in pattern.finditer(source.text))
    return [f"{source.name}: {words.strip()}" for words in found]


def undocumented(recipes: Iterable[str], pages: Iterable[str]) -> list[str]:
    """Recipes without a page, and pages without a recipe."""
    return sorted({f"{recipe}.md" for recipe in recipes} ^ (set(pages) - {"README.md"}))


def unpinned(requirements: Iterable[str], constraints: str) -> list[str]:
    """Requirements that the constraints leave open, and lines of these that are no exact pins."""
    lines = [line for line in constraints.splitlines() if line and not line.startswith("#")]
    pinned = {_canonical(match.group(1)) for match in map(PIN.match, lines) if match}
    names = (match.group() for match in map(REQUIREMENT.match, requirements) if match)
    return [line for line in lines if not PIN.match(line)] + [n for n in names if _canonical(n) not in pinned]


def has_summary(source: Source) -> bool:
    """Whether a module begins with a docstring whose first line is a sentence."""
    first, _, rest = (ast.get_docstring(source.tree) or "").partition("\n")
    return first.endswith(".") and (not rest or rest.startswith("\n"))


def too_deep(files: Iterable[str]) -> list[str]:
    """What lies deeper than slap/ROOM/CORNER/FILE."""
    return [name for name in files if len(PurePosixPath(name).parts) > 4]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _with_folders(files: Iterable[str]) -> set[str]:
    names = set(files)
    return names | {str(parent) for name in names for parent in PurePosixPath(name).parents}
