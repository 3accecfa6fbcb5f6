"""The cache server as a process: folder, socket, TLS."""

import ssl
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette

from slap.cache.server.app import create_app
from slap.cache.server.settings import CacheSettings
from slap.cache.storage.url import open_storage
from slap.model.errors import Conflict, InvalidInput
from slap.system import files
from slap.system.serving.accept import LimitedLoop
from slap.system.serving.connections import ConnectionTable
from slap.system.serving.limits import raise_descriptor_limit
from slap.system.serving.listen import listening
from slap.system.serving.protocol import LimitedProtocol
from slap.system.serving.server import Server
from slap.system.trust.terminal import server_log_config


def serve(settings: CacheSettings) -> None:
    """Serve until SIGTERM or SIGINT. Raises Conflict when the port or the folder is taken by another process."""
    for folder in (settings.folder, settings.spool):
        files.make_folder(folder, 0o700)
    with files.exclusive(settings.folder / "serve.lock", wait=False) as is_ours:
        if not is_ours:
            raise Conflict(
                f"Another server uses {settings.folder}.", "", "Stop it, or name another folder with --folder."
            )
        storage = open_storage(settings.storage_url, settings.folder)
        with listening("The cache", settings.host, settings.port) as listener:
            Server(_config(settings, create_app(settings, storage))).run(sockets=[listener])


def _config(settings: CacheSettings, app: Starlette) -> uvicorn.Config:
    # A proxy on this machine speaks for readers everywhere.
    table = ConnectionTable(settings, raise_descriptor_limit(), is_loopback_limited=False)
    config = uvicorn.Config(
        app,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        loop=partial(LimitedLoop, table),  # type: ignore[arg-type]
        http=LimitedProtocol,
        ws="none",
        timeout_graceful_shutdown=5,
        log_config=server_log_config(),
        **_tls(settings),
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(
            f"The certificate {settings.certificate}, its key or the authority is of no use.",
            error.strerror or str(error),
            "Name PEM files that belong together in the section [cache].",
        ) from error
    return config


def _tls(settings: CacheSettings) -> dict[str, Any]:
    if settings.certificate is None:
        return {}
    files_of = {"ssl_certfile": str(settings.certificate), "ssl_keyfile": str(settings.key or settings.certificate)}
    if settings.authority is None:
        return {**files_of}
    return {**files_of, "ssl_ca_certs": str(settings.authority), "ssl_cert_reqs": ssl.CERT_OPTIONAL}
