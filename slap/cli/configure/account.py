"""A client certificate for a token, by the way of SlapOS's masters: the server makes the key."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from slap.client.credentials import Credentials
from slap.model.base import Frozen
from slap.model.errors import Forbidden, SlapError, Unreachable
from slap.system import files
from slap.system.transport import Transport

_PATIENCE = 60.0  # seconds: the master makes a key meanwhile


class CertificatePair(Frozen):
    """The answer, which is the only copy of the key but for the one that is written."""

    certificate: str
    key: str


@dataclass(frozen=True)
class Account:
    """Where the parts of a certificate are kept, beside the configuration that names them."""

    certificate: Path
    key: Path
    authority: Path | None = None


def fetch_certificate(transport: Transport, web: str, token: str) -> CertificatePair:
    """Exchange a token; raises Forbidden when it is not accepted, and what else the master had to say."""
    headers = {"X-Access-Token": token, "Content-Type": "application/x-www-form-urlencoded"}
    url = f"{web.rstrip('/')}/Person_getCertificate"
    reply = transport.send("POST", url, headers, b"", _PATIENCE)
    if reply.status in (401, 403):
        raise Forbidden(f"{web} does not accept the token.", resolution="Ask for a new one; each works only once.")
    if reply.status != 200:
        raise SlapError(f"{web} gave no certificate.", f"It answered {reply.status}.", "Check --master-url-web.")
    try:
        return CertificatePair.model_validate_json(reply.body)
    except ValidationError as error:
        raise Unreachable(f"{url} gave something else than a certificate and its key.") from error


def write_certificate(path: Path, master_url: str, pair: CertificatePair, authority: Path | None) -> Credentials:
    """Leave a configuration with the certificate and, for its owner alone, the key beside it; the key first."""
    account = Account(path.with_suffix(".crt"), path.with_suffix(".key"), authority)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(account.key, pair.key, mode=0o600)
    files.write(account.certificate, pair.certificate)
    files.write(path, configuration_text(master_url, account))
    return Credentials(certificate=account.certificate, key=account.key, authority=authority)


def configuration_text(master_url: str, account: Account) -> str:
    """In SlapOS's words, so that its own command can use the file as well."""
    lines = [f"cert_file = {account.certificate}", f"key_file = {account.key}"]
    lines += [f"master_ca_file = {account.authority}"] if account.authority else []
    return "\n".join(["[slapos]", f"master_url = {master_url}", "", "[slapconsole]", *lines, ""])
