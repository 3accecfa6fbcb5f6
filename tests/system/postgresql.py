"""A real PostgreSQL of Debian's, in a folder of its own, for as long as a block runs."""

import pwd
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

from slap.model.errors import NotFound
from slap.system.environment import clean, is_root
from slap.system.process import Command, SystemRunner


@dataclass
class PostgreSql:
    """A running server; databases are made in it by copying others."""

    folder: Path
    binaries: Path
    port: int

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """The URL of a fresh database."""
        return self.renew(f"test{next(_numbers)}", template)

    def renew(self, name: str, template: str) -> str:
        """The URL of a database with just what the template has; who is still connected to a former one is cut off."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        self.run("pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", mode, "stop")

    def run(self, program: str, *arguments: str) -> None:
        user = pwd.getpwnam("postgres") if is_root() else None
        command = Command(
            (str(self.binaries / program), *arguments),
            cwd=self.folder,
            env=clean(self.folder),
            log=self.folder / "output",
            timeout=60,
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
        )
        SystemRunner().run(command).check()


_numbers = count()
# A database is made for each test; on a disk, that takes longer than the test.
_MEMORY = Path("/dev/shm")


@contextmanager
def running_postgresql() -> Iterator[PostgreSql]:
    """The server; it is gone without a trace when the block ends. As root it runs as the user postgres."""
    folder = Path(tempfile.mkdtemp(prefix="slap-postgresql-", dir=_MEMORY if _MEMORY.is_dir() else None))
    if is_root():
        shutil.chown(folder, "postgres", "postgres")
    server = PostgreSql(folder, _binaries(), _free_port())
    try:
        server.run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise NotFound("PostgreSQL is not installed.", "", "apt-get install postgresql")
    return found[-1].parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
