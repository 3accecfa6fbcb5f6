"""A master with TLS and an authority of its own, and those who talk to it."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex
from threading import Thread
from typing import Any

import uvicorn

from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.client.enrolment import EnrolmentClient, fetch_authority
from slap.client.master import Master
from slap.master.api.peer import PeerProtocol
from slap.master.app import create_app
from slap.master.service.accounts import create_user
from slap.master.settings import MasterSettings
from slap.master.tls import context_of, read_authority
from slap.model.certificate import CertificateRequest, NodeRegistration, RegistrationTokenRequest, fingerprint_in
from slap.system.trust.certificates import new_key_and_request
from tests.contract.master.world import until


@dataclass(frozen=True)
class Secure:
    """A running master, spoken to over TLS; files of its clients are in `folder`."""

    url: str
    settings: MasterSettings
    folder: Path

    @property
    def database(self) -> str:
        return self.settings.database_url

    @property
    def authority(self) -> Path:
        path = self.folder / "ca.pem"
        path.write_text(read_authority(self.settings).certificate)
        return path

    def user(self, name: str = "alice") -> "Holder":
        return Holder(self, Credentials(create_user(self.database, name), authority=self.authority))

    def holder(self, certificate: str, name: str) -> "Holder":
        """Somebody with a key and a certificate in PEM."""
        path = self.folder / f"{name}-{token_hex(4)}.pem"
        path.write_text(certificate)
        return Holder(self, Credentials("", path, path, self.authority))

    def computer(self, title: str, token: str = "", guid: str = "") -> "Holder":
        """A node that registered as one does."""
        words = token or self.user().token(title, guid)
        pinned = self.folder / f"{title}-ca.pem"
        pinned.write_text(fetch_authority(self.url, fingerprint_in(words)))
        made = new_key_and_request(title)
        wanted = NodeRegistration(token=words, title=title, request=made.request)
        answer = EnrolmentClient(self.url, Credentials(authority=pinned)).register(wanted)
        assert not answer.token
        found = self.holder(made.key + answer.certificate, title)
        return Holder(self, found.credentials, answer.guid)


@dataclass(frozen=True)
class Holder:
    """Somebody with credentials."""

    secure: Secure
    credentials: Credentials
    guid: str = ""

    @property
    def api(self) -> Master:
        return connect(self.secure.url, self.credentials)

    @property
    def enrolment(self) -> EnrolmentClient:
        return EnrolmentClient(self.secure.url, self.credentials)

    def token(self, title: str | None = None, guid: str = "") -> str:
        """A one-time token for a computer."""
        wanted = RegistrationTokenRequest(title=None if guid else title, guid=guid)
        return self.enrolment.registration_token(wanted).token

    def renewed(self, name: str, partition: str | None = None) -> "Holder":
        """The same with another key and certificate."""
        made = new_key_and_request(name)
        issued = self.enrolment.certificate(CertificateRequest(request=made.request, partition=partition))
        found = self.secure.holder(made.key + issued.certificate, name)
        return Holder(self.secure, found.credentials, self.guid)

    def get(self, path: str) -> int:
        """The status of the answer to a GET, of any protocol."""
        reply = self.credentials.transport().send("GET", self.secure.url + path, self.credentials.headers, None, 20)
        return reply.status


@contextmanager
def secure_master(database: str, folder: Path, **settings: Any) -> Iterator[Secure]:
    """A master that serves over TLS while the block runs."""
    told = MasterSettings(database_url=database, **{"tls": "own", "release_folders": "/", **settings})
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        config = uvicorn.Config(
            create_app(database, told.access, releases=told),
            http=PeerProtocol,
            loop="uvloop",
            log_level="error",
            timeout_graceful_shutdown=1,
            ssl_context_factory=partial(context_of, told) if told.access.own_tls else None,
        )
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            scheme = "https" if told.access.own_tls else "http"
            yield Secure(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}", told, folder)
        finally:
            server.should_exit = True
            thread.join()
