"""The cache server as a process: folder, socket, TLS."""

import ssl
from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Any

import uvicorn
from starlette.applications import Starlette

from slap.cache.server.app import create_app
from slap.cache.server.settings import CacheSettings
from slap.cache.storage.url import open_storage
from slap.model.errors import Conflict, InvalidInput
from slap.system import files
from slap.system.serving.listen import listening
from slap.system.serving.patience import ImpatientProtocol

# Connections at a time; more are told to come back (503).
_MOST_CONNECTIONS = 1000
# Of one address, but for this machine, where a proxy may speak for all: more are hung up on.
_MOST_OF_ONE = 200


class _FewOfEach(ImpatientProtocol):
    """Nobody takes all connections alone."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        clients = [getattr(each, "client", None) for each in self.connections]
        if self.client and is_crowded(self.client[0], [client[0] for client in clients if client]):
            self.transport.abort()


def is_crowded(address: str, connected: Iterable[str]) -> bool:
    """Whether an address, which is among those that are connected, has more than its share. One network of IPv6 (/64) is one
    address: a machine has as many as it likes."""
    place = _place(address)
    return bool(place) and sum(_place(each) == place for each in connected) > _MOST_OF_ONE


def _place(address: str) -> str:
    """Empty for this machine."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return ""
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else str(found)


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
            uvicorn.Server(_config(settings, create_app(settings, storage))).run(sockets=[listener])


def _config(settings: CacheSettings, app: Starlette) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        loop="uvloop",
        http=_FewOfEach,
        ws="none",
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=5,
        log_config=_logging(),
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


def _logging() -> dict[str, Any]:
    """Our own lines beside uvicorn's, on stderr."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
        "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": "INFO", "handlers": ["err"]},
    }
