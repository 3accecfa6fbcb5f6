"""What slapproxy is told by a slapos.cfg: [slapproxy], the computer's name in [slapos], and [multimaster/URL] sections."""

from collections.abc import Mapping
from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from pathlib import Path

from pydantic import Field, ValidationError

from slap.master.multimaster.config import Beside, OtherMaster
from slap.model.base import Frozen
from slap.model.errors import InvalidInput

SECTION = "slapproxy"
_MULTIMASTER = "multimaster/"
# What slapproxy knows and this master does otherwise, or nowhere: a file with them is not wrong.
_ELSEWHERE = frozenset({"log_file", "public_directory_path", "local_software_release_root"})


class SlapproxyConfig(Frozen):
    """The settings of slapproxy."""

    database: Path
    host: str = "127.0.0.1"
    port: int = Field(default=5000, ge=1, le=65535)
    computer_id: str = ""
    beside: Beside = Beside()


def read_config(text: str, path: Path) -> SlapproxyConfig:
    """The settings in the text of a slapos.cfg at `path`; raises InvalidInput that names each wrong option."""
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(text, str(path))
        return _checked(parser, path)
    except SyntaxMistake as error:
        raise InvalidInput(f"{path} cannot be understood.", str(error), "Mend the file.") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise InvalidInput(f"{path} is wrong.", "\n".join(lines), f"Mend its section [{SECTION}].") from error


def _checked(parser: ConfigParser, path: Path) -> SlapproxyConfig:
    if not parser.has_section(SECTION):
        raise InvalidInput(
            f"{path} has no section [{SECTION}].",
            "It says where slapproxy listens and keeps its data.",
            "Add one with host, port and database_uri, or make such a file: slapos configure local.",
        )
    own = {name.replace("-", "_"): value for name, value in parser[SECTION].items()}
    return SlapproxyConfig.model_validate(
        {
            **{name: value for name, value in own.items() if _is_ours(name)},
            "database": _database(own.get("database_uri", ""), path),
            "computer_id": parser.get("slapos", "computer_id", fallback=""),
            "beside": {
                "products": _products(own.get("software_product_list", ""), path),
                "others": [_other(name, parser[name]) for name in parser.sections() if name.startswith(_MULTIMASTER)],
            },
        }
    )


def _is_ours(name: str) -> bool:
    """Whether to check an option: a misspelt one must not be passed over, one that slapproxy knows must not be refused."""
    is_elsewhere = name in _ELSEWHERE or name.startswith("shacache_")
    return not is_elsewhere and name not in ("database_uri", "software_product_list")


def _database(words: str, path: Path) -> Path:
    file = words.strip().removeprefix("sqlite:///")
    if not file:
        raise InvalidInput(
            f"{path} names no database.",
            f"database_uri is missing from its section [{SECTION}].",
            "Write database_uri = /opt/slapos/slapproxy.db, or any other file.",
        )
    return path.parent / Path(file).expanduser()


def _products(text: str, path: Path) -> dict[str, str]:
    found = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, url = line.partition(" ")
        if not url.strip():
            raise InvalidInput(
                f"{path}: software_product_list has the line {line!r}.",
                "Each of its lines is a name, a space and a URL.",
                "Correct the line.",
            )
        found[name] = url.strip()
    return found


def _other(section: str, options: Mapping[str, str]) -> OtherMaster:
    releases = frozenset(filter(None, map(str.strip, options.get("software_release_list", "").splitlines())))
    return OtherMaster(
        url=section.removeprefix(_MULTIMASTER).strip(),
        certificate=_file(options.get("cert", "")),
        key=_file(options.get("key", "")),
        computer=options.get("computer", ""),
        partition=options.get("partition", ""),
        releases=releases,
    )


def _file(words: str) -> Path | None:
    return Path(words).expanduser() if words.strip() else None
