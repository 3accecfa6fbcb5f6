"""Credentials of this computer towards its master: a token, or a certificate, renewed in time."""

import logging
import math
from urllib.parse import urlsplit

from slap.client.credentials import Credentials
from slap.client.enrolment import EnrolmentClient
from slap.model.certificate import CertificateRequest
from slap.model.errors import NotFound, SlapError
from slap.node.core.config import NodeConfig
from slap.system import files
from slap.system.clock import Clock
from slap.system.trust.certificates import KeyAndRequest, Validity, new_key_and_request, request_for, validity
from slap.system.trust.peer import is_loopback

log = logging.getLogger(__name__)

# Seconds until a renewal is looked after again, at least, and after one that failed.
_SOONEST = 1.0
_SOON = 60.0


def computer_credentials(config: NodeConfig) -> Credentials:
    """The credentials of this computer; raises NotFound when it was never registered."""
    token = files.read_or(config.token_file, "").strip()
    if token:
        return Credentials(token, authority=config.master_ca_file)
    if config.cert_file and config.master_url.startswith("https:"):  # over http it would not be shown
        return Credentials("", config.cert_file, config.key_file, config.master_ca_file)
    if config.computer_id and _needs_none(config.master_url):
        return Credentials()
    raise NotFound(
        "This computer has no token.", f"{config.token_file} is missing.", "Type `slapos node register` first."
    )


def stamp(config: NodeConfig) -> tuple[object, ...]:
    """A value that changes with the credentials, so that connections are opened again."""
    kept = (config.token_file, config.cert_file, config.key_file, config.master_ca_file)
    return tuple(path.stat().st_mtime_ns if path and path.exists() else None for path in kept)


class Renewal:
    """Renews the certificate of this computer before it expires.

    It is in the way of every question to the master, so neither the agent nor passes by hand let that happen.
    """

    def __init__(self, config: NodeConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._known: Validity | None = None

    def once(self) -> float:
        """Renew the certificate if most of its life is over; returns seconds until the next check."""
        config = self._config
        if not config.cert_file or computer_credentials(config).certificate is None:
            return math.inf
        try:
            self._known = self._known or validity(config.cert_file)
            if self._known.is_due(self._clock.now()):
                renew(config)
                self._known = validity(config.cert_file)
                log.info("The certificate of this computer was renewed, until %s.", self._known.end)
            return max(_SOONEST, self._known.until_due(self._clock.now()))
        except (SlapError, OSError) as error:
            log.warning("The certificate of this computer was not renewed. %s", error)
            return _SOON


def renew(config: NodeConfig) -> None:
    """Replace the computer's certificate by a new one. On SlapError the previous one is still in place."""
    assert config.cert_file is not None
    made = _new_key(config)
    wanted = CertificateRequest(request=made.request)
    issued = EnrolmentClient(config.master_url, computer_credentials(config)).certificate(wanted)
    is_one_file = config.key_file in (None, config.cert_file)
    files.write(config.cert_file, (made.key if is_one_file else "") + issued.certificate, 0o600)


def _new_key(config: NodeConfig) -> KeyAndRequest:
    """A new key where key and certificate share a file; otherwise the existing key."""
    if config.key_file in (None, config.cert_file):
        return new_key_and_request(config.computer_id)
    assert config.key_file is not None
    return request_for(config.key_file, config.computer_id)


def _needs_none(url: str) -> bool:
    """Whether a master on this machine identifies this node by its Unix user."""
    parts = urlsplit(url)
    return parts.scheme == "http" and is_loopback(parts.hostname or "")
