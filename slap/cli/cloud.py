"""The parts of a standalone cloud: a master, a cache and an agent under the node's own supervisord, all in one folder."""

import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slap.cli.cache import standalone as cache
from slap.cli.node.format import format_node
from slap.client.config import read_configuration
from slap.client.connect import connect as connect_master
from slap.client.master import Master
from slap.model.errors import SlapError
from slap.model.instance import Instance
from slap.node.core.config import NodeConfig, default_root, read, write
from slap.node.identity.register import Registration, register
from slap.node.partition.supervision import Program, connect, ensure_running, group_text, is_running
from slap.system import environment, files
from slap.system.clock import Clock
from slap.system.network.netlink import KernelNetwork
from slap.system.processes import NODE_MARK
from slap.system.supervisor import News
from slap.system.transport import HttpTransport, Reply

_FIRST_PORT = 5000
_PORTS = 100
_PROGRAMS = ("slapos-master", "slapos-cache", "slapos-agent", "slapos-watchdog")
_ENDLESS_RETRIES = 1_000_000
_PATIENCE = 30.0  # seconds until a master that was started has to answer


@dataclass(frozen=True)
class Cloud:
    """A cloud in a folder."""

    folder: Path
    clock: Clock

    @property
    def cfg(self) -> Path:
        return self.folder / "etc/slapos.cfg"

    @property
    def client_cfg(self) -> Path:
        return self.folder / "client.cfg"

    def node_config(self) -> NodeConfig:
        """The node's configuration; before it is registered, where its things will be."""
        return read(self.cfg) if self.cfg.exists() else NodeConfig(**default_root(self.folder))

    def master(self) -> Master:
        found = read_configuration(self.client_cfg)
        return connect_master(found.master_url, found.credentials)

    def computer(self) -> str:
        return self.node_config().computer_id

    def services(self) -> list[Instance]:
        return self.master().instances()

    def missing(self) -> list[str]:
        """The programs that do not run: never started, ended, or given up by supervisord."""
        supervisor = connect(self.node_config(), News())
        if not is_running(supervisor):
            return list(_PROGRAMS)
        return [name for name in _PROGRAMS if not any(each.state.is_alive for each in supervisor.processes(name))]

    def start_master(self) -> None:
        """Have supervisord run the master, and wait until it answers."""
        with self._port() as port:
            argv = ("proxy", "start", "--port", str(port), "--folder", str(self.folder / "master"))
            self._supervise("slapos-master", (*argv, "--client-cfg", str(self.client_cfg)))
            self._wait_for("master", self._answers)

    def start_cache(self) -> None:
        """The same for the cache, from which other nodes may take what this one built."""
        folder = self.folder / "cache"
        with self._cache_port(folder) as port:
            cache.remember_port(folder, port)
            self._supervise("slapos-cache", ("cache", "serve", "--folder", str(folder), "--port", str(port)))
            self._wait_for("cache", lambda: cache.answers(_Hasty(), cache.url_of(port)))

    @property
    def cache_url(self) -> str:
        """Where the cache listens; empty for a cloud that never had one."""
        port = cache.former_port(self.folder / "cache")
        return cache.url_of(port) if port else ""

    def _wait_for(self, who: str, is_there: Callable[[], bool]) -> None:
        started = self.clock.monotonic()
        while not is_there():
            if self.clock.monotonic() - started > _PATIENCE:
                raise SlapError(f"The {who} does not answer.", resolution=f"Look into {self.log(f'slapos-{who}')}.")
            self.clock.sleep(0.02)

    def start_node(self, partitions: int) -> None:
        """Register and format the node unless it is, then have supervisord run its agent."""
        is_new = not self.cfg.exists()
        if is_new:
            wish = Registration(title=socket.gethostname(), root=self.folder, partition_amount=partitions, replace=True)
            register(self._master_url(), self.master(), self.cfg, wish)
        moved = self._follow() and not is_new
        format_node(self.node_config(), KernelNetwork())
        self._supervise("slapos-agent", ("node", "agent", "--cfg", str(self.cfg)))
        if moved:  # an agent that came up with supervisord asks where the master was
            supervisor = connect(self.node_config(), News())
            supervisor.control("stopProcess", "slapos-agent:slapos-agent")
            supervisor.control("startProcess", "slapos-agent:slapos-agent")

    def start_watchdog(self) -> None:
        """Have supervisord come back also when it is killed together with the agent, which otherwise starts it again."""
        boot = (str(environment.own_program("slapos")), "node", "supervisord", "--cfg", str(self.cfg))
        self._run("slapos-watchdog", (sys.executable, "-P", "-m", "slap.system.host.watchdog", *boot))

    def _master_url(self) -> str:
        return read_configuration(self.client_cfg).master_url

    def _follow(self) -> bool:
        """Have the node know where master and cache are now: a port may have been taken by somebody meanwhile."""
        config = self.node_config()
        section = cache.told(config.networkcache, self.cache_url) if self.cache_url else config.networkcache
        moved = config.model_copy(update={"master_url": self._master_url(), "networkcache": section})
        if moved == config:
            return False
        write(self.cfg, moved)
        return True

    def log(self, program: str) -> Path:
        return self.node_config().log / f"{program}.log"

    def last_words(self) -> str:
        """The ends of the logs, for when something did not come up."""
        logs = [
            *map(self.log, ("slapos-master", "slapos-cache", "slapos-agent")),
            self.node_config().log / "supervisord.log",
        ]
        return "\n".join(f"==> {path} <==\n{files.tail(path, 8)}" for path in logs if path.exists())

    def _supervise(self, name: str, arguments: tuple[str, ...]) -> None:
        self._run(name, (str(environment.own_program("slapos")), *arguments))

    def _run(self, name: str, argv: tuple[str, ...]) -> None:
        """Have supervisord run a program, and never give it up; one that was given up before is started again."""
        config = self.node_config()
        config.make_folders()
        program = Program(
            name=name,
            argv=argv,
            log=self.log(name),
            directory=self.folder,
            environment=environment.clean(Path.home(), {NODE_MARK: str(config.root)}),
            umask="022",
            retries=_ENDLESS_RETRIES,
        )
        files.write_if_changed(config.supervisor_folder / f"{name}.conf", group_text(name, [program]), 0o600)
        supervisor = connect(config, News())
        ensure_running(config, supervisor)
        supervisor.update(name)
        supervisor.start(name)

    def _answers(self) -> bool:
        try:
            found = read_configuration(self.client_cfg)
            connect_master(found.master_url, found.credentials, _Hasty()).computers()
        except SlapError:
            return False
        return True

    @contextmanager
    def _port(self) -> Iterator[int]:
        """The port that the master had before, or the first free one, which no other new cloud gets meanwhile."""
        with socket.socket() as holder:
            if self.client_cfg.exists():
                former = int(self._master_url().rpartition(":")[2])
                if self._answers() or _hold(holder, former):
                    yield former
                    return
            yield next(port for port in range(_FIRST_PORT, _FIRST_PORT + _PORTS) if _hold(holder, port))

    @contextmanager
    def _cache_port(self, folder: Path) -> Iterator[int]:
        """The same for the cache."""
        former = cache.former_port(folder)
        with socket.socket() as holder:
            if former and (cache.answers(_Hasty(), cache.url_of(former)) or _hold(holder, former)):
                yield former
                return
            ports = range(cache.FIRST_PORT, cache.FIRST_PORT + _PORTS)
            yield next(port for port in ports if _hold(holder, port))


class _Hasty(HttpTransport):
    """Does not wait for who takes connections and says nothing: that is another's port."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        return super().send(method, url, headers, body, min(timeout, 1.0))


def _hold(holder: socket.socket, port: int) -> bool:
    """Take a port in such a way that a server may still listen on it, but nobody else can take it like this."""
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        return False
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # from now on, not for the bind
    return True
