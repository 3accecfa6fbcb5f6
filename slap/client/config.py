"""Which master to talk to, and with which token: an INI file in one of the usual places.

[slapos]
master_url = http://127.0.0.1:4000

[client]
token_file = slapos-client.token

In place of the token, a certificate: cert_file and key_file, in [client], [slapconsole] or [slapos]; and master_ca_file, by
which the master is checked. A master on this machine may need neither.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as SyntaxMistake
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from slap.client.credentials import Credentials
from slap.model.errors import InvalidInput, NotFound, SlapError
from slap.system import environment, files
from slap.system.trust.peer import is_loopback

VARIABLE = "SLAPOS_CLIENT_CONFIGURATION"
NODE_VARIABLE = "SLAPOS_CONFIGURATION"  # of the node's commands: for ours, only where nothing of the user's is found
VARIABLES = (VARIABLE, NODE_VARIABLE)
SYSTEM_FILE = Path("/etc/opt/slapos/slapos.cfg")
HOME_FILE = Path(".slapos/slapos-client.cfg")
STANDALONE_FILE = Path("var/standalone/client.cfg")


@dataclass(frozen=True)
class ClientConfiguration:
    """Where the master is, and who we are to it; `path` is the file that says so."""

    master_url: str
    token: str = field(repr=False)
    path: Path
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None

    @property
    def credentials(self) -> Credentials:
        return Credentials(self.token, self.certificate, self.key, self.authority)


@dataclass(frozen=True)
class Surroundings:
    """What discovery depends on."""

    variables: Mapping[str, str]
    home: Path
    folder: Path
    user: int
    system_file: Path = SYSTEM_FILE


def here(folder: Path) -> Surroundings:
    """The surroundings of this process, as seen from `folder`."""
    variables = {name: environment.variable(name) for name in VARIABLES}
    return Surroundings(variables, Path.home(), folder, os.geteuid())


def named_file(option: str, around: Surroundings) -> Path | None:
    """The file that somebody named explicitly, which then has to exist."""
    named = option or around.variables.get(VARIABLE, "")
    return around.folder / Path(named).expanduser() if named else None


def usual_files(around: Surroundings) -> Iterator[Path]:
    """The places to look, nearest first: a standalone of the project that we are in, the user's file, the node's."""
    yield from (folder / STANDALONE_FILE for folder in (around.folder, *around.folder.parents))
    yield around.home / HOME_FILE
    if around.variables.get(NODE_VARIABLE):
        yield around.folder / Path(around.variables[NODE_VARIABLE]).expanduser()
    yield around.system_file


def file_in_force(option: str, around: Surroundings) -> Path | None:
    """The file that says which master to talk to; None when there is none."""
    trusted = (path for path in usual_files(around) if _is_trusted(path, around.user))
    return named_file(option, around) or next(trusted, None)


def find_configuration(option: str, around: Surroundings) -> ClientConfiguration:
    """The configuration in force; raises with what to type when there is none or when it is of no use."""
    path = file_in_force(option, around)
    if path:
        return read_configuration(path)
    raise NotFound(
        "No master is configured.",
        f"Neither {around.home / HOME_FILE} nor {around.system_file} exists, and --cfg names no other file.",
        "slapos proxy start, for a master on this machine; or slapos configure client URL, for one that exists",
    )


def read_configuration(path: Path) -> ClientConfiguration:
    """The configuration in a file, with the token read from the file that it names."""
    parser = _parse(path)
    master_url = parser.get("slapos", "master_url", fallback="").strip()
    if not master_url.startswith(("http://", "https://")):
        raise InvalidInput(
            f"{path} names no master." if not master_url else f"{path}: master_url is not a URL: {master_url}",
            "It needs master_url = http://... in its section [slapos].",
            f"slapos configure client --cfg {path} URL",
        )
    token, certificate, key = _token(parser, path), _file(parser, path, "cert_file"), _file(parser, path, "key_file")
    if not master_url.startswith("https:"):
        certificate = key = None  # SlapOS's files name one that need not be there, for it is never shown
    if not (token or certificate or _needs_none(master_url)):
        raise InvalidInput(
            f"{path} names no token.",
            "It needs token_file = FILE in its section [client], or cert_file and key_file in [slapconsole].",
            f"slapos configure client --cfg {path} URL",
        )
    if certificate:
        _refuse_readable_by_others(key or certificate)
    return ClientConfiguration(master_url, token, path, certificate, key, _file(parser, path, "master_ca_file"))


def write_configuration(path: Path, master_url: str, token: str, authority: Path | None = None) -> ClientConfiguration:
    """Leave a configuration and, readable by its owner alone, its token beside it; the token first, so that it is
    never missing.
    """
    token_file = path.with_suffix(".token")
    lines = [f"token_file = {token_file.name}", *([f"master_ca_file = {authority}"] if authority else [])]
    text = "\n".join(["[slapos]", f"master_url = {master_url}", "", "[client]", *lines, ""])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(token_file, token + "\n", mode=0o600)
        files.write(path, text)
    except OSError as error:
        raise SlapError(f"{error.filename or path} cannot be written.", error.strerror or "") from error
    return ClientConfiguration(master_url, token, path, authority=authority)


def read_secret(path: Path) -> str:
    """The one line of a file that nobody but its owner can read."""
    _refuse_readable_by_others(path)
    token = _read(path).strip()
    if not token:
        raise InvalidInput(f"{path} is empty.", "It should hold a token.", "slapos configure client")
    return token


def _parse(path: Path) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(_read(path), str(path))
    except SyntaxMistake as error:
        raise InvalidInput(f"{path} cannot be understood.", str(error), "Mend the file.") from error
    return parser


def _token(parser: ConfigParser, path: Path) -> str:
    for section in ("client", "slapconsole"):
        if parser.get(section, "token_file", fallback=""):
            return read_secret(path.parent / Path(parser[section]["token_file"]).expanduser())
        if parser.get(section, "token", fallback=""):
            _refuse_readable_by_others(path)
            return parser[section]["token"].strip()
    return ""


def _file(parser: ConfigParser, path: Path, name: str) -> Path | None:
    """A file that the configuration names; relative paths start at its folder."""
    named = (parser.get(section, name, fallback="").strip() for section in ("client", "slapconsole", "slapos"))
    found = next(filter(None, named), "")
    return path.parent / Path(found).expanduser() if found else None


def _needs_none(url: str) -> bool:
    """A master on this machine may know us by our Unix user."""
    parts = urlsplit(url)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "It is not text."
        raise NotFound(f"{path} cannot be read.", why or "", "Check the path, or: slapos configure client") from error


def _refuse_readable_by_others(path: Path) -> None:
    if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise InvalidInput(f"{path} is readable by other users.", "It holds a secret.", f"chmod 600 {path}")


def _is_trusted(path: Path, user: int) -> bool:
    """Found by itself, a file counts only when it is ours or root's: others must not choose our master for us."""
    try:
        return path.stat().st_uid in (user, 0)
    except OSError:
        return False
