"""The master as a process: database, socket, workers."""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path

import uvicorn
from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import URL, create_engine
from uvicorn.supervisors import Multiprocess

from slap.master.access.auth import CallerKind, issue_token
from slap.master.database.engine import database_url, is_sqlite, migrate, sqlite_file
from slap.master.http.app import create_app
from slap.model.base import Frozen, Name
from slap.model.errors import Conflict, InvalidInput
from slap.system.files import exclusive

_BACKLOG = 2048


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class MasterSettings(Frozen):
    """All that a master needs to be told."""

    database_url: str
    host: str = "127.0.0.1"
    port: int = Field(default=5000, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    log_level: LogLevel = LogLevel.INFO


def serve(settings: MasterSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises Conflict when the port or the database is taken by another process."""
    url = database_url(settings.database_url)
    if is_sqlite(url) and settings.workers > 1:
        raise InvalidInput(
            "Several workers need PostgreSQL.",
            "An SQLite database belongs to one process.",
            "Use one worker, or a postgresql:// database URL.",
        )
    with _owned(url), _listening(settings) as listener:
        migrate(url)
        _run(settings, listener)


def create_user(words: str, name: str) -> str:
    """A new token for the user `name` in the database at this URL: the only time that it is shown.

    A user is known by having a token; a second one for the same name works beside the first.
    """
    _check_name(name)
    url = database_url(words)
    migrate(url)
    engine = create_engine(url)
    with engine.begin() as connection:
        secret = issue_token(connection, CallerKind.USER, name)
    engine.dispose()
    return secret


def _check_name(name: str) -> None:
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise InvalidInput(
            f"{name!r} is not the name of a user.", error.errors()[0]["msg"], "Use letters and digits."
        ) from error


def _run(settings: MasterSettings, listener: socket.socket) -> None:
    config = uvicorn.Config(
        partial(create_app, settings.database_url),
        factory=True,
        workers=settings.workers,
        log_level=settings.log_level.value,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        loop="uvloop",
        http="httptools",
        timeout_graceful_shutdown=1,
    )
    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        uvicorn.Server(config).run(sockets=[listener])


def _owned(url: URL) -> AbstractContextManager[None]:
    return _alone_with(sqlite_file(url)) if is_sqlite(url) else nullcontext()


@contextmanager
def _alone_with(database: Path) -> Iterator[None]:
    """Hold an SQLite database for this process."""
    if not database.parent.is_dir():
        raise InvalidInput(f"{database.parent} is not a folder.", "The database is to be in it.", "Create it first.")
    with exclusive(database.with_name(f"{database.name}.lock"), wait=False) as is_ours:
        if not is_ours:
            raise Conflict(
                f"Another master uses {database}.",
                "An SQLite database belongs to one process.",
                "Stop the other master, or use a PostgreSQL database.",
            )
        yield


@contextmanager
def _listening(settings: MasterSettings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(_BACKLOG)
        except OSError as error:
            raise Conflict(
                f"The master cannot listen on port {settings.port} of {settings.host}.",
                str(error.strerror),
                f"Stop what uses it (ss -ltnp 'sport = {settings.port}'), or choose another port.",
            ) from error
        yield listener
