"""The master as a process: database, socket, workers."""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import uvicorn
from sqlalchemy import URL
from uvicorn.supervisors import Multiprocess

from slap.master.app import create_app
from slap.master.database.engine import database_url, is_sqlite, migrate, sqlite_file
from slap.master.database.incarnation import begin_incarnation
from slap.master.settings import MasterSettings, TlsMode
from slap.master.tls import ServerCertificate, context_of, read_authority, server_context
from slap.model.errors import Conflict, InvalidInput
from slap.system.files import exclusive
from slap.system.processes import return_freed_memory
from slap.system.serving.accept import LimitedLoop
from slap.system.serving.connections import ConnectionTable
from slap.system.serving.limits import raise_descriptor_limit
from slap.system.serving.listen import listening
from slap.system.serving.protocol import LimitedProtocol
from slap.system.serving.server import Server
from slap.system.trust.terminal import server_log_config


def serve(settings: MasterSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises Conflict when the port or the database is taken by another process."""
    url = database_url(settings.database_url)
    if is_sqlite(url) and settings.workers > 1:
        raise InvalidInput(
            "Several workers need PostgreSQL.",
            "An SQLite database belongs to one process.",
            "Use one worker, or a postgresql:// database URL.",
        )
    return_freed_memory()
    with _owned(url), listening("The master", settings.host, settings.port) as listener:
        migrate(url)
        begin_incarnation(url)
        _check_tls(settings)
        _run(settings, listener)


def _check_tls(settings: MasterSettings) -> None:
    """Raises InvalidInput for a certificate of no use, before worker after worker fails by it."""
    if settings.tls is not TlsMode.OFF:
        authority = read_authority(settings)
        ServerCertificate(settings, authority, server_context(authority)).take()


def _run(settings: MasterSettings, listener: socket.socket) -> None:
    config = server_config(settings, raise_descriptor_limit())
    if settings.workers > 1:
        Multiprocess(config, sockets=[listener]).run()
    else:
        Server(config).run(sockets=[listener])


def server_config(settings: MasterSettings, capacity: int) -> uvicorn.Config:
    """What uvicorn serves, in processes with so many connections each."""
    table = ConnectionTable(settings, capacity)
    return uvicorn.Config(
        partial(
            create_app,
            settings.database_url,
            settings.access,
            settings.beside,
            limits=settings,
            releases=settings,
            schemas=settings.schemas,
        ),
        factory=True,
        workers=settings.workers,
        log_level=settings.log_level.value,
        log_config=server_log_config(settings.log_level.upper()),
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        loop=partial(LimitedLoop, table),  # type: ignore[arg-type]
        http=LimitedProtocol,
        ws="none",
        ssl_context_factory=partial(context_of, settings) if settings.tls is not TlsMode.OFF else None,
        timeout_graceful_shutdown=1,
    )


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
