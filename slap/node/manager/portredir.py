"""Port redirection: a supervised socat for each port in `.slapos-port-redirect`.

A list of {"srcPort", "destPort", and if need be "srcAddress", "destAddress", "type": "tcp" or "udp"}. A port below 1024 is
opened by root; whoever enables this manager lets tenants have those that are free.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from slap.model.errors import CommandFailed, InvalidInput
from slap.node.manager.base import Hooks
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_list
from slap.node.partition.supervision import FORWARDER_SUFFIX, Program, group_text, partition_environment
from slap.system import environment, files
from slap.system.network.addresses import plain_address
from slap.system.network.ports import first_free_port
from slap.system.network.socat import Forward
from slap.system.supervisor import ProcessState

_LAST_LINES = 2
_AGAIN = 50.0  # seconds


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(plain_address)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Redirect(BaseModel):
    """A port of the computer that leads to one of the partition, or to another address."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    source_port: Port = Field(alias="srcPort")
    target_port: Port = Field(alias="destPort")
    source: Address | None = Field(default=None, alias="srcAddress")
    target: Address | None = Field(default=None, alias="destAddress")
    type: Annotated[Literal["tcp", "udp"], BeforeValidator(_lower)] = "tcp"

    @property
    def name(self) -> str:
        return f"socat-{self.type}-{self.source_port}"


def redirects_of(entries: Iterable[Any]) -> tuple[Redirect, ...]:
    """The requested redirections; raises InvalidInput for an invalid entry or a repeated port."""
    found: dict[str, Redirect] = {}
    for entry in entries:
        try:
            redirect = Redirect.model_validate(entry)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise InvalidInput("A port redirection is wrong.", f"{entry!r:.200}: {where}: {problem['msg']}") from error
        if redirect.name in found:
            raise InvalidInput(f"Port {redirect.source_port} ({redirect.type}) is redirected twice.")
        found[redirect.name] = redirect
    return tuple(found.values())


def forward_of(redirect: Redirect, target: str, user: str, first_free: int) -> Forward:
    """socat's command. Root opens a privileged port, then socat runs as the partition's user."""
    return Forward(
        port=redirect.source_port,
        target=target,
        target_port=redirect.target_port,
        address=redirect.source or "",
        protocol=redirect.type,
        user=user if redirect.source_port < first_free else "",
    )


class Portredir(Hooks):
    """Runs socat in a supervised group of its own, apart from the partition's services."""

    request_file = ".slapos-port-redirect"

    def configured(self, folder: PartitionFolder) -> None:
        redirects = redirects_of(read_list(folder, self.request_file) or ())
        if not redirects:
            self.stopped(folder)
            return
        text = group_text(folder.name + FORWARDER_SUFFIX, [self._program(folder, each) for each in redirects])
        files.make_folder(folder.logs, 0o750)
        files.write_if_changed(self._file(folder), text, 0o600)
        self.tools.supervisor.update(folder.name + FORWARDER_SUFFIX)
        self._check(folder)

    def stopped(self, folder: PartitionFolder) -> None:
        if self._file(folder).exists():
            self.tools.supervisor.remove(folder.name + FORWARDER_SUFFIX)
            self._file(folder).unlink()

    def _program(self, folder: PartitionFolder, redirect: Redirect) -> Program:
        user, first_free = folder.account.name, first_free_port()
        forward = forward_of(redirect, redirect.target or _own_address(folder), user, first_free)
        privileged = forward.port < first_free
        if privileged and not environment.is_root():
            raise InvalidInput(f"Port {forward.port} is not redirected.", f"Below {first_free} that takes root.")
        return Program(
            name=redirect.name,
            argv=forward.argv(environment.program("socat")),
            log=folder.logs / f"{redirect.name}.log",
            directory=folder.path,
            environment=partition_environment(self.tools.config, folder.name, user),
            user="" if privileged else user,
        )

    def _check(self, folder: PartitionFolder) -> None:
        """Raise an error while a redirection does not stay up; it is restarted now and then."""
        group, now = folder.name + FORWARDER_SUFFIX, self.tools.clock.now().timestamp()
        dead = [each for each in self.tools.supervisor.processes(group) if not each.state.is_alive]
        if not dead:
            return
        if any(each.state is ProcessState.FATAL and now - each.started > _AGAIN for each in dead):
            self.tools.supervisor.start(group)
        names = ", ".join(each.name for each in dead)
        words = files.tail(folder.logs / f"{dead[0].name}.log", _LAST_LINES)
        raise CommandFailed(f"Port redirection {names} does not run.", words, "Choose a port that is free.")

    def _file(self, folder: PartitionFolder) -> Path:
        return self.tools.config.supervisor_folder / f"{folder.name}{FORWARDER_SUFFIX}.conf"


def _own_address(folder: PartitionFolder) -> str:
    """The partition's IPv6 address as in SlapOS, or else its first address."""
    if not folder.addresses:
        raise InvalidInput(f"{folder.name} has no address to redirect to.", resolution="Give a destAddress.")
    return folder.addresses[0]
