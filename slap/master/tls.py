"""TLS of the master: its server certificate, by its own authority or the operator's, and certificates of clients.

A certificate is taken up again when it was renewed, without a restart: connections from then on are given the new one.
"""

import asyncio
import logging
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import create_engine
from uvicorn import Config

from slap.master.access.authority import CertificateAuthority, authority_of, in_pem, key_in_pem, new_key
from slap.master.database.engine import database_url
from slap.master.database.store import Transaction
from slap.master.settings import MasterSettings, TlsMode
from slap.model.errors import InvalidInput

log = logging.getLogger(__name__)

# Seconds between looks at whether the certificate is to be taken up again, unless it lives for shorter than that.
_LOOK = 60.0
_LOOKS_IN_A_LIFE = 10
_ALWAYS = ("localhost", "127.0.0.1", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")


class ServerCertificate:
    """The certificate that a TLS context shows."""

    def __init__(self, settings: MasterSettings, authority: CertificateAuthority, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._authority = authority
        self._context = context
        self._taken = 0.0
        self._files: tuple[int, ...] = ()

    def take(self) -> None:
        """Take the certificate up; raises InvalidInput when there is none that is of use."""
        if self._settings.tls is TlsMode.OWN:
            self._make()
        else:
            self._files = self._state_of_files()
            self._load(self._given())
        self._taken = time.time()

    def take_if_new(self) -> None:
        """Take it up when two thirds of its life are over, or when the operator replaced it."""
        if self._settings.tls is TlsMode.OWN:
            is_due = time.time() - self._taken > self._settings.server_lifetime * 2 / 3
        else:
            is_due = self._state_of_files() != self._files
        if is_due:
            self.take()
            log.info("The server certificate was renewed.")

    def _make(self) -> None:
        """A key and a certificate of this process alone: they are in a file for the moment that OpenSSL reads it."""
        key = new_key()
        made = self._authority.sign_server(hosts_of(self._settings), key.public_key(), self._settings.server_lifetime)
        with tempfile.TemporaryDirectory(prefix="slap-tls-") as folder:
            path = Path(folder) / "server.pem"
            path.touch(0o600)
            path.write_text(key_in_pem(key) + in_pem(made))
            self._load((path, path))

    def _load(self, files: tuple[Path, Path]) -> None:
        try:
            self._context.load_cert_chain(*files)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                f"The certificate {files[0]} or its key {files[1]} is of no use.",
                error.strerror or str(error),
                "Name PEM files that belong together as certificate and key in the section [master].",
            ) from error

    def _given(self) -> tuple[Path, Path]:
        assert self._settings.certificate is not None
        return self._settings.certificate, self._settings.key or self._settings.certificate

    def _state_of_files(self) -> tuple[int, ...]:
        return tuple(_changed_at(path) for path in self._given())


def hosts_of(settings: MasterSettings) -> list[str]:
    """All names and addresses by which the master is reached, as its settings say."""
    here = () if settings.host in _EVERYWHERE else (settings.host,)
    return list(dict.fromkeys((*settings.names, *here, socket.gethostname(), *_ALWAYS)))


def context_of(settings: MasterSettings, config: Config, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """The TLS context of a serving process, for uvicorn, which asks for it once its event loop runs."""
    authority = read_authority(settings)
    context = server_context(authority)
    certificate = ServerCertificate(settings, authority, context)
    certificate.take()
    _repeat(asyncio.get_running_loop(), certificate, min(_LOOK, settings.server_lifetime / _LOOKS_IN_A_LIFE))
    return context


def server_context(authority: CertificateAuthority) -> ssl.SSLContext:
    """Clients may show a certificate; one that is not of our authority, or has expired, ends the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority.certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context


def read_authority(settings: MasterSettings) -> CertificateAuthority:
    engine = create_engine(database_url(settings.database_url))
    try:
        with engine.begin() as connection:
            return authority_of(Transaction(connection))
    finally:
        engine.dispose()


def _repeat(loop: asyncio.AbstractEventLoop, certificate: ServerCertificate, pause: float) -> None:
    """Look now and then. It is done on the loop, where no handshake goes on at the same moment."""

    def look() -> None:
        try:
            certificate.take_if_new()
        except (InvalidInput, OSError) as error:
            log.error("The server certificate stays as it is. %s", error)
        loop.call_later(pause, look)

    loop.call_later(pause, look)


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
