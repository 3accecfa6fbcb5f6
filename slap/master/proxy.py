"""slapproxy: a master for one machine, with its database and its administrator's token in one folder."""

import ipaddress
from pathlib import Path

from slap.master.service.accounts import create_user
from slap.master.settings import MasterSettings
from slap.master.settings_slapproxy import SlapproxyConfig
from slap.master.takeover.migrate import take_over
from slap.model.errors import InvalidInput
from slap.system import files

ADMINISTRATOR = "admin"
ADMINISTRATORS = frozenset({ADMINISTRATOR})  # whose machine it is: what he fills is his own
TOKEN_FILE = "admin.token"  # in the folder; readable by its owner alone
DATABASE_FILE = "master.sqlite"


def prepare_proxy(folder: Path, port: int, host: str = "127.0.0.1") -> MasterSettings:
    """Settings to serve with. On first start makes the database, and the administrator's token in TOKEN_FILE."""
    _check_loopback(host)
    files.make_folder(folder, 0o700)
    settings = MasterSettings(
        database_url=f"sqlite:///{folder.resolve() / DATABASE_FILE}",
        host=host,
        port=port,
        open_to_this_machine=True,
        quota_exempt=ADMINISTRATORS,
    )
    if not (folder / TOKEN_FILE).exists():
        files.write(folder / TOKEN_FILE, create_user(settings.database_url, ADMINISTRATOR), 0o600)
    return settings


def prepare_slapproxy(config: SlapproxyConfig) -> tuple[MasterSettings, Path | None]:
    """Settings to serve with as a slapos.cfg says, and the copy of the former database when one was taken over."""
    _check_loopback(config.host)
    database = config.database.resolve()
    database.parent.mkdir(parents=True, exist_ok=True)
    copy = take_over(database, ADMINISTRATOR)
    settings = MasterSettings(
        database_url=f"sqlite:///{database}",
        host=config.host,
        port=config.port,
        open_to_this_machine=True,
        quota_exempt=ADMINISTRATORS,
        beside=config.beside,
    )
    token = database.with_name(f"{database.name}.token")
    if not token.exists():
        files.write(token, create_user(settings.database_url, ADMINISTRATOR), 0o600)
    return settings, copy


def administrator_token(folder: Path) -> str:
    """The token that prepare_proxy left in a folder; empty before its first start."""
    return files.read_or(folder / TOKEN_FILE, "").strip()


def _check_loopback(host: str) -> None:
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise InvalidInput(
            f"slapproxy does not listen on {host}.",
            "It is for one machine, and listens on a loopback address only.",
            "Use 127.0.0.1, or run slapos master start to serve several machines.",
        )
