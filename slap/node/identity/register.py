"""Registration of a computer at a master: identity, credentials, configuration file."""

from hashlib import sha256
from pathlib import Path

from slap.client.credentials import Credentials
from slap.client.enrolment import EnrolmentClient, fetch_authority, refuse_open_network
from slap.client.master import Master
from slap.model.base import Frozen
from slap.model.certificate import NodeRegistration, RegisteredNode, fingerprint_in
from slap.model.computer import ComputerRegistration
from slap.node.core.config import FormatConfig, NodeConfig, default_root, write
from slap.system import files
from slap.system.trust.certificates import new_key_and_request


class Registration(Frozen):
    """What to register, and where this node is to live; with `system`, Unix users and the layout under /."""

    title: str
    root: Path
    partition_amount: int = 10
    system: bool = False
    replace: bool = False
    labels: dict[str, str] = {}
    ipv6_prefix: str = ""
    interface_name: str = ""
    ipv4_local_network: str = ""
    create_tap: bool = False
    software_root: Path | None = None
    instance_root: Path | None = None
    authority: Path | None = None  # a file; what the master's certificate is checked against, where no token says it


def register(master_url: str, master: Master, cfg: Path, registration: Registration) -> NodeConfig:
    """Register at the master as a user, then write slapos.cfg and the token, which nobody else may read."""
    unnamed = make_config(master_url, registration)
    unnamed.make_folders()  # first, for where that fails, the master shall not have a computer that nobody is
    answer = master.register_computer(ComputerRegistration(title=registration.title, replace=registration.replace))
    config = unnamed.model_copy(update={"computer_id": answer.guid})
    _forget_certificate(config)
    files.write(config.token_file, answer.token + "\n", 0o600)
    write(cfg, config)
    return config


def enrol(master_url: str, token: str, cfg: Path, registration: Registration) -> NodeConfig:
    """Register by a one-time token. The key is made here and stays here; the master signs a request for it.

    The token says by which authority the master is known. So nobody is trusted blindly, and nobody else gets the token.
    """
    fingerprint = fingerprint_in(token)
    refuse_open_network(master_url)
    unnamed = make_config(master_url, registration)
    unnamed.make_folders()
    if fingerprint and registration.authority is None:
        files.write(unnamed.authority_file, fetch_authority(master_url, fingerprint))
        unnamed = unnamed.model_copy(update={"master_ca_file": unnamed.authority_file})
    made = new_key_and_request(registration.title)
    enrolment = EnrolmentClient(master_url, Credentials(authority=unnamed.master_ca_file))
    answer = enrolment.register(NodeRegistration(token=token, title=registration.title, request=made.request))
    config = _with_credentials(unnamed.model_copy(update={"computer_id": answer.guid}), made.key, answer)
    write(cfg, config)
    return config


def _with_credentials(config: NodeConfig, key: str, answer: RegisteredNode) -> NodeConfig:
    if not answer.certificate:
        _forget_certificate(config)
        files.write(config.token_file, answer.token + "\n", 0o600)
        return config
    files.write(config.certificate_file, key + answer.certificate, 0o600)
    config.token_file.unlink(missing_ok=True)
    return config.model_copy(update={"cert_file": config.certificate_file, "key_file": config.certificate_file})


def _forget_certificate(config: NodeConfig) -> None:
    """Remove the certificate of an earlier registration."""
    config.certificate_file.unlink(missing_ok=True)


def make_config(master_url: str, registration: Registration) -> NodeConfig:
    """The configuration of a new node, without the name that its master gives it."""
    folders = {"software_root": registration.software_root, "instance_root": registration.instance_root}
    return NodeConfig(
        master_url=master_url,
        master_ca_file=registration.authority,
        **(default_root(registration.root) | {name: path for name, path in folders.items() if path}),
        labels=registration.labels,
        format=FormatConfig(
            partition_amount=registration.partition_amount,
            alter_user=registration.system,
            alter_network=registration.system,
            ipv4_local_network=registration.ipv4_local_network or _own_network(registration),
            ipv6_prefix=registration.ipv6_prefix,
            create_tap=registration.create_tap,
            **({"interface_name": registration.interface_name} if registration.interface_name else {}),
        ),
    )


def _own_network(registration: Registration) -> str:
    return "10.77.0.0/16" if registration.system else loopback_network(registration.root)


def loopback_network(root: Path) -> str:
    """A part of 127.0.0.0/8 for a node without root, chosen so that two nodes hardly ever share it."""
    return f"127.{64 + sha256(str(root).encode()).digest()[0] % 128}.0.0/16"
