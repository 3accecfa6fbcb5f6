"""slapos.cfg of a node: where things are, who it is, how its partitions are made."""

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from slap.cache.client.settings import Settings, read_settings
from slap.model.base import Frozen
from slap.model.errors import InvalidInput, NotFound
from slap.model.resources.limits import Limits, read_build_limits, read_section
from slap.model.software import software_id
from slap.node.core import slapos_config
from slap.system import environment, files
from slap.system.host.space import disk_space, total_memory

# sun_path of a Unix socket, unix(7).
_LONGEST_SOCKET_PATH = 107
_ROOT = 0, 0  # user and group


class FormatConfig(Frozen):
    """[slapformat]: what `slapos node format` makes. Without `alter_user` all belongs to the node's user."""

    partition_amount: int = Field(default=10, ge=0, le=100_000)
    partition_base_name: str = Field(default="slappart", pattern=r"^[a-z][a-z0-9_-]{0,20}$")
    user_base_name: str = Field(default="slapuser", pattern=r"^[a-z][a-z0-9_-]{0,20}$")
    software_user: str = Field(default="slapsoft", pattern=r"^[a-z][a-z0-9_-]{0,20}$")
    alter_user: bool = False
    kvm_group: str = Field(default="kvm", pattern=r"^([a-z_][a-z0-9_-]{0,31})?$")  # that may use /dev/kvm, as users do
    alter_network: bool = False
    interface_name: str = "lo"
    ipv4_local_network: str = "127.77.0.0/16"
    ipv6_prefix: str = ""
    network: str = ""
    create_tap: bool = False  # an interface for each partition, for virtual machines
    bridge_name: str = Field(default="", pattern=r"^([A-Za-z][A-Za-z0-9_.-]{0,14})?$")  # that the taps are ports of
    tap_base_name: str = Field(default="slaptap", pattern=r"^[a-z][a-z0-9_-]{0,9}$")
    input_definition_file: str = ""  # the partitions as somebody wrote them down, in place of counting
    computer_xml: str = ""  # the partitions as SlapOS's node left them, which keep their addresses


class NodeConfig(Frozen):
    """[slapos] and what follows from it. All paths are absolute."""

    master_url: str = ""
    computer_id: str = ""
    cert_file: Path | None = None  # the computer's certificate; its key may be in the same file
    key_file: Path | None = None
    master_ca_file: Path | None = (
        None  # what the master's certificate is checked against; none: this system's authorities
    )
    root: Path
    software_root: Path
    instance_root: Path
    image_root: Path | None = None  # images of machines; `images` below the root when nothing is said
    promise_grace: float = Field(default=60, gt=0)  # seconds that promises may fail before that is an error
    build_timeout: float = Field(default=4 * 3600, gt=0)  # seconds
    instance_timeout: float = Field(default=1800, gt=0)  # seconds that one buildout run of a partition may take
    parallel_builds: int = Field(default=2, ge=1)
    parallel_instances: int = Field(default=8, ge=1)
    promise_timeout: float = Field(default=0, ge=0)  # seconds that one run of a promise may take; 0 as it says itself
    partition_firewall: Literal["auto", "true", "false"] = "auto"  # auto: with alter_user, as root, where nftables is
    manager_list: str = "prerm images"  # what partitions may ask for, see slap/node/manager
    power_user_list: str = ""  # users whose programs may have a processor of their own
    prerm_timeout: float = Field(default=3600, gt=0)  # seconds that scripts of etc/prerm may take
    managers: dict[str, dict[str, str]] = Field(default_factory=dict)  # [manager:NAME]
    limits: dict[str, str] = Field(default_factory=dict)  # [limits], see slap/model/resources/limits.py
    format: FormatConfig = FormatConfig()
    labels: dict[str, str] = Field(default_factory=dict)
    networkcache: dict[str, str] = Field(default_factory=dict)  # see slap/cache/client/settings.py

    @property
    def token_file(self) -> Path:
        return self.root / "etc/computer.token"

    @property
    def certificate_file(self) -> Path:
        """Where registration leaves the computer's key and certificate."""
        return self.root / "etc/computer.pem"

    @property
    def authority_file(self) -> Path:
        """Where registration leaves the authority of the master; everybody may read it."""
        return self.root / "etc/master-ca.pem"

    @property
    def images(self) -> Path:
        """The image store: what machines start from, readable by all partitions."""
        return self.image_root or self.root / "images"

    @property
    def machines(self) -> Path:
        """The folder of the KVM probe's result, readable by all partitions."""
        return self.run / "machines"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def partition_logs(self) -> Path:
        return self.log / "partition"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def events(self) -> Path:
        return self.run / "events"

    @property
    def supervisor_socket(self) -> Path:
        return self.run / "supervisord.sock"

    @property
    def supervisor_folder(self) -> Path:
        return self.root / "etc/supervisord.conf.d"

    @property
    def store_file(self) -> Path:
        return self.root / "state/node.sqlite"

    @property
    def usage_file(self) -> Path:
        return self.root / "state/usage.sqlite"

    @property
    def cache(self) -> Settings:
        """The settings of caches: where builds are downloaded from and uploaded to."""
        return read_settings(self.networkcache, self.root)

    @property
    def partition_limits(self) -> tuple[Limits, Limits]:
        """Default limits of a partition, and the most that can be requested."""
        totals = {"memory": total_memory(), "disk": disk_space(self.instance_root).total}
        return read_section(self.limits, totals)

    @property
    def build_limits(self) -> Limits:
        """What builds of releases may use."""
        totals = {"memory": total_memory(), "disk": disk_space(self.software_root).total}
        return read_build_limits(self.limits, totals)

    @property
    def cache_file(self) -> Path:
        return self.root / "state/cache.sqlite"

    @property
    def trust_file(self) -> Path:
        """The database of trusted keys and of what was seen of them."""
        return self.root / "state/cache-trust.sqlite"

    @property
    def chunks(self) -> Path:
        """The store of chunks of builds that came from a cache or went there."""
        return self.root / "state/chunks"

    @property
    def download_cache(self) -> Path:
        return self.software_root / ".download-cache"

    @property
    def shared_parts(self) -> Path:
        """Where releases put parts that several of them can use (`shared = true`)."""
        return self.software_root / "shared"

    def software(self, url: str) -> Path:
        return self.software_root / software_id(url)

    def software_log(self, url: str) -> Path:
        return self.log / "software" / f"{software_id(url)}.log"

    def partition(self, name: str) -> Path:
        return self.instance_root / name

    def make_folders(self) -> None:
        """Create the node's own folders: private, but for releases, which partitions read.

        Builds write in folders of the software root that are given to them, never in the software root itself. On nodes
        of former versions, and of SlapOS, it belongs to the software user: it is taken back.
        """
        for folder in (self.root, self.root / "etc", self.log, self.run, self.software_root, self.instance_root):
            files.make_folder(folder, 0o755)
        if self.format.alter_user and environment.is_root():
            files.make_folder(self.software_root, 0o755, _ROOT)
        for folder in (self.supervisor_folder, self.events, self.root / "state", self.log / "software"):
            files.make_folder(folder, 0o700)
        files.make_folder(self.partition_logs, 0o755)
        files.make_folder(self.machines, 0o755)


def read(path: Path) -> NodeConfig:
    """Read a configuration file; raises one error that names every mistake in it."""
    parser = _parser()
    try:
        parser.read_string(path.read_text(), str(path))
        return _checked(path, parser)
    except FileNotFoundError:
        raise NotFound(
            f"There is no configuration at {path}.", resolution="Type `slapos node register` first."
        ) from None
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error.strerror}.", "Check the path and its rights.") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not a configuration file.", str(error), "Mend or replace it.") from error
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
        raise InvalidInput(f"{path} is wrong.", "\n".join(lines), "Mend these options.") from error


def write(path: Path, config: NodeConfig) -> None:
    """Write a configuration that `read` understands; raises InvalidInput for what such a file cannot say."""
    parser = _parser()
    own = config.model_dump(exclude=set(_SECTIONS), mode="json")
    if config.manager_list == NodeConfig.model_fields["manager_list"].default:
        del own["manager_list"]  # what is new in a later version is not to be missed by those who chose nothing
    parser["slapos"] = {name: str(value) for name, value in own.items() if value is not None}
    parser["slapformat"] = {name: str(value).lower() for name, value in config.format.model_dump().items()}
    parser["labels"] = config.labels
    if config.limits:
        parser["limits"] = config.limits
    if config.networkcache:
        parser["networkcache"] = {name: value.replace("\n", "\n\t") for name, value in config.networkcache.items()}
    lines = ["# Configuration of this node, read by every `slapos node` command."]
    for section in parser.sections():
        lines += ["", f"[{section}]", *(f"{name} = {value}" for name, value in parser[section].items())]
    text = "\n".join(lines) + "\n"
    if not _says(path, text, config):
        raise InvalidInput(
            "This configuration cannot be written.", text, "Leave line ends, = and : out of names and labels."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)


def default_root(root: Path) -> dict[str, Path]:
    """The default paths: as DESIGN.md has them under /, or the same below one folder."""
    if root == Path("/"):
        return {
            "root": Path("/opt/slapos"),
            "software_root": Path("/opt/slapgrid"),
            "instance_root": Path("/srv/slapgrid"),
        }
    return {"root": root, "software_root": root / "opt", "instance_root": root / "srv"}


def _parser() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # labels keep their capitals
    return parser


def _says(path: Path, text: str, config: NodeConfig) -> bool:
    parser = _parser()
    try:
        parser.read_string(text)
        return _checked(path, parser) == config
    except (configparser.Error, ValidationError):
        return False


def _checked(path: Path, parser: configparser.ConfigParser) -> NodeConfig:
    given, form = (_section(parser, name) for name in ("slapos", "slapformat"))
    own, of_format = slapos_config.meant(given, form, _OPTIONS, _FORMAT_OPTIONS)
    config = NodeConfig.model_validate(
        {
            **_places(given),
            **own,
            "format": of_format,
            "labels": _section(parser, "labels"),
            "limits": _section(parser, "limits"),
            "networkcache": _section(parser, "networkcache"),
            "managers": {
                name.removeprefix("manager:"): dict(parser[name])
                for name in parser.sections()
                if name.startswith("manager:")
            },
        }
    )
    _check_paths(path, config)
    _ = config.cache, config.partition_limits, config.build_limits  # raise for what is wrong in their sections
    return config


def _section(parser: configparser.ConfigParser, name: str) -> dict[str, str]:
    return dict(parser[name]) if parser.has_section(name) else {}


def _places(given: Mapping[str, str]) -> dict[str, str]:
    """The default of each path."""
    places = {name: str(folder) for name, folder in default_root(Path(given.get("root", "/"))).items()}
    return places | (slapos_config.own_root(given) if slapos_config.is_inherited(given) else {})


_SECTIONS = frozenset({"format", "labels", "limits", "managers", "networkcache"})
_OPTIONS = frozenset(NodeConfig.model_fields) - _SECTIONS
_FORMAT_OPTIONS = frozenset(FormatConfig.model_fields)


def _check_paths(path: Path, config: NodeConfig) -> None:
    for folder in (config.root, config.software_root, config.instance_root, config.images):
        if not folder.is_absolute():
            raise InvalidInput(f"{path} is wrong.", f"{folder} is not an absolute path.")
    if len(str(config.supervisor_socket)) > _LONGEST_SOCKET_PATH - 20:
        raise InvalidInput(
            f"The path of the node's folder is too long: {config.root}.",
            f"Unix sockets are made in it, whose paths end at {_LONGEST_SOCKET_PATH} characters.",
            "Choose a folder with a shorter path.",
        )
