"""Registration of a computer at a master: identity, credentials, configuration file."""

from hashlib import sha256
from pathlib import Path

from slap.client.credentials import Credentials
from slap.client.enrolment import Enrolment, meet, refuse_open_network
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


def register(master_url: str, master: Master, cfg: Path, wish: Registration) -> NodeConfig:
    """Register at the master as a user, then write slapos.cfg and the token, which nobody else may read."""
    unnamed = make_config(master_url, wish)
    unnamed.make_folders()  # first, for where that fails, the master shall not have a computer that nobody is
    answer = master.register_computer(ComputerRegistration(title=wish.title, replace=wish.replace))
    config = unnamed.model_copy(update={"computer_id": answer.guid})
    _forget_certificate(config)
    files.write(config.token_file, answer.token + "\n", 0o600)
    write(cfg, config)
    return config


def enrol(master_url: str, token: str, cfg: Path, wish: Registration) -> NodeConfig:
    """Register by a one-time token. The key is made here and stays here; the master signs a request for it.

    The token says by which authority the master is known. So nobody is trusted blindly, and nobody else gets the token.
    """
    fingerprint = fingerprint_in(token)
    refuse_open_network(master_url)
    unnamed = make_config(master_url, wish)
    unnamed.make_folders()
    if fingerprint and wish.authority is None:
        files.write(unnamed.authority_file, meet(master_url, fingerprint))
        unnamed = unnamed.model_copy(update={"master_ca_file": unnamed.authority_file})
    made = new_key_and_request(wish.title)
    enrolment = Enrolment(master_url, Credentials(authority=unnamed.master_ca_file))
    answer = enrolment.register(NodeRegistration(token=token, title=wish.title, request=made.request))
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


def make_config(master_url: str, wish: Registration) -> NodeConfig:
    """The configuration of a new node, without the name that its master gives it."""
    folders = {"software_root": wish.software_root, "instance_root": wish.instance_root}
    return NodeConfig(
        master_url=master_url,
        master_ca_file=wish.authority,
        **(default_root(wish.root) | {name: path for name, path in folders.items() if path}),
        labels=wish.labels,
        format=FormatConfig(
            partition_amount=wish.partition_amount,
            alter_user=wish.system,
            alter_network=wish.system,
            ipv4_local_network=wish.ipv4_local_network or _own_network(wish),
            ipv6_prefix=wish.ipv6_prefix,
            create_tap=wish.create_tap,
            **({"interface_name": wish.interface_name} if wish.interface_name else {}),
        ),
    )


def _own_network(wish: Registration) -> str:
    return "10.77.0.0/16" if wish.system else loopback_network(wish.root)


def loopback_network(root: Path) -> str:
    """A part of 127.0.0.0/8 for a node without root, chosen so that two nodes hardly ever share it."""
    return f"127.{64 + sha256(str(root).encode()).digest()[0] % 128}.0.0/16"
