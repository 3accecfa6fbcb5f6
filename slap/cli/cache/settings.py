"""What commands beside the storage of a cache share: its settings, by file and by options."""

import argparse
from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.cache.server.settings import CacheSettings
from slap.cli.base import read_small_file
from slap.model.errors import InvalidInput

SECTION = "cache"
CFG_HELP = "configuration with a section [cache]"
HOME_FOLDER = Path(".slapos/cache")


def with_storage(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Options that say which cache is meant."""
    parser.add_argument("--cfg", metavar="FILE", help=CFG_HELP)
    return with_place(parser)


def with_place(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """For a command whose --cfg is there already."""
    parser.add_argument("--folder", metavar="FOLDER", help="tokens and objects (~/.slapos/cache)")
    parser.add_argument(
        "--storage", metavar="URL", help="objects elsewhere: a folder, or s3://BUCKET/PREFIX?endpoint=URL"
    )
    return parser


def settings_of(args: argparse.Namespace, folder: Path, home: Path) -> CacheSettings:
    """Settings from the configuration file, overridden by options; relative paths start where they are said."""
    given = {name: getattr(args, name, None) for name in ("folder", "storage", "host", "port")}
    merged = _section(args.cfg, folder) | {name: value for name, value in given.items() if value is not None}
    merged["folder"] = folder / Path(merged.get("folder", home / HOME_FOLDER)).expanduser()
    try:
        return CacheSettings.model_validate(merged)
    except ValidationError as error:
        wrong = "\n".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise InvalidInput("The settings of the cache are wrong.", wrong, "slapos cache serve --help") from error


def _section(path: str | None, folder: Path) -> dict[str, Any]:
    """Paths in the file start at its own folder."""
    if not path:
        return {}
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(read_small_file(path, str, folder), path)
    except SyntaxMistake as error:
        raise InvalidInput(f"{path} cannot be understood.", str(error), "Mend the file.") from error
    found: dict[str, Any] = dict(parser[SECTION]) if parser.has_section(SECTION) else {}
    base = (folder / path).parent
    paths = ["folder", "certificate", "key", "authority"]
    if "://" not in found.get("revocations", "://"):
        paths.append("revocations")
    return found | {name: str(base / Path(found[name]).expanduser()) for name in paths if name in found}
