"""What a built release says of itself: the parts that buildout installed, and what each of them was made of.

Whoever wrote the profile may have left anything in the folder, so nothing is read that is large, or leads out of it.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from configparser import Error, RawConfigParser
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from pydantic import ValidationError

from slap.cache.provenance.npm import npm_packages
from slap.model.cache.material import MATERIALS, MATERIALS_FOLDER, Material, MaterialKind, plain_url
from slap.system.trust.folders import read_below

_LARGEST = 4 << 20  # bytes of a file that tells of what is there
_LONGEST_LICENSE = 100  # characters of a name of one
_METADATA = (
    "parts/*/lib/python*/site-packages/*.dist-info/METADATA",
    "eggs/*/*.dist-info/METADATA",
    "eggs/*/EGG-INFO/PKG-INFO",
)
_DIGESTS = {"sha256": "sha256", "sha512": "sha512", "md5sum": "md5", "md5": "md5"}


@dataclass(frozen=True)
class Used:
    """A material, and the part that it is in; empty for what the build as a whole used."""

    material: Material
    part: str = ""


def read_materials(folder: Path) -> tuple[Used, ...]:
    """All that a built release is made of, each once for each part."""
    parts = _installed(folder)
    in_parts = (used for name, options in parts.items() for used in _part(folder, name, options))
    return _merged([*_eggs(folder), *in_parts])


def _part(folder: Path, name: str, options: dict[str, str]) -> Iterator[Used]:
    """What a recipe of ours noted, or else what the options of another one tell; and what lies in the part."""
    noted = _noted(folder, name)
    told = noted if noted is not None else _told(options)
    lock = read_below(folder, f"parts/{name}/node_modules/.package-lock.json", _LARGEST)
    for material in (*told, *npm_packages(lock), *_git(folder, name, options)):
        yield Used(material, name)


def _noted(folder: Path, name: str) -> tuple[Material, ...] | None:
    text = read_below(folder, f"parts/{MATERIALS_FOLDER}/{name}.json", _LARGEST)
    try:
        return MATERIALS.validate_json(text) if text else None
    except ValidationError:
        return None


def _told(options: dict[str, str]) -> tuple[Material, ...]:
    """SlapOS's recipes, and most others, name what they fetch by an option `url`, with a digest beside it."""
    url = options.get("url", "")
    if not url or "\n" in url:
        return ()
    place, _, digest = url.partition("#")
    digests = {_DIGESTS[key]: options[key] for key in _DIGESTS if _is_digest(options.get(key, ""))}
    if _is_digest(digest.removeprefix("md5=")):
        digests.setdefault("md5", digest.removeprefix("md5="))
    plain = plain_url(place)
    return (Material(kind=MaterialKind.FILE, name=plain.rpartition("/")[2] or plain, url=plain, digests=digests),)


def _git(folder: Path, name: str, options: dict[str, str]) -> tuple[Material, ...]:
    """The revision that is checked out, by which Git binds every file."""
    head = read_below(folder, f"parts/{name}/.git/HEAD", _LARGEST).strip()
    revision = head if len(head) in (40, 64) else options.get("revision", "")
    repository = plain_url(options.get("repository", ""))
    if not repository or not revision:
        return ()
    name = repository.rstrip("/").rpartition("/")[2].removesuffix(".git")
    digests = {"gitCommit": revision}
    return (Material(kind=MaterialKind.GIT, name=name, version=revision, url=repository, digests=digests),)


def _eggs(folder: Path) -> Iterator[Used]:
    """Python packages: in virtual environments of parts, and those that buildout itself installed."""
    for pattern in _METADATA:
        for path in folder.glob(pattern):
            steps = path.relative_to(folder).parts
            for wheel in _wheel(read_below(folder, path.relative_to(folder), _LARGEST)):
                yield Used(wheel, steps[1] if steps[0] == "parts" else "")


def _wheel(metadata: str) -> tuple[Material, ...]:
    """A Python package by its core metadata; none without a name and a version."""
    fields = HeaderParser().parsestr(metadata)
    name, version = fields["Name"], fields["Version"]
    if not name or not version:
        return ()
    terms = str(fields["License-Expression"] or fields["License"] or "")
    short = terms if len(terms) < _LONGEST_LICENSE and "\n" not in terms else ""  # some put the whole text there
    return (Material(kind=MaterialKind.WHEEL, name=str(name), version=str(version), license=short),)


def _merged(found: Iterable[Used]) -> tuple[Used, ...]:
    """Each once, in an order of their own. A wheel whose file was noted is also found installed: that is one."""
    whole: dict[tuple[str, ...], Used] = {}
    for each in found:
        place = (*_identity(each.material), each.part)
        whole[place] = _joined(whole[place], each) if place in whole else each
    return tuple(whole[place] for place in sorted(whole))


def _joined(one: Used, other: Used) -> Used:
    first, second = one.material, other.material
    told = {"digests": second.digests | first.digests, "license": first.license or second.license}
    return Used(first.model_copy(update=told), one.part)


def _identity(material: Material) -> tuple[str, ...]:
    name = re.sub(r"[-_.]+", "-", material.name).lower() if material.kind is MaterialKind.WHEEL else material.name
    return material.kind, name, material.version, material.url


def _installed(folder: Path) -> dict[str, dict[str, str]]:
    """The options of each part, as buildout keeps them in .installed.cfg; nothing when it cannot be read."""
    parser = RawConfigParser(delimiters=("=",), comment_prefixes=(), strict=False, default_section="\0")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        parser.read_string(read_below(folder, ".installed.cfg", _LARGEST))
    except Error:
        return {}
    sections = {name: dict(parser[name]) for name in parser.sections()}
    parts = sections.get("buildout", {}).get("parts", "").split()
    return {name: {key: _plain(text) for key, text in sections.get(name, {}).items()} for name in parts}


def _plain(text: str) -> str:
    """Buildout writes what its own format could not hold as a literal of Python."""
    if not text.startswith("!py!"):
        return text
    try:
        return str(ast.literal_eval(text[4:]))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return ""


def _is_digest(text: str) -> bool:
    return len(text) in (32, 64, 128) and not set(text) - set("0123456789abcdef")
