"""A partition to try recipes in, with the real buildout."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

from zc.buildout.buildout import Buildout

from slap.model.node import CONTEXT_FILE, DesiredInstance, PartitionContext
from slap.model.state import InstanceState

CONNECTION = """
[slap-connection]
computer-id = COMP-1
partition-id = slappart7
server-url = http://master
software-release-url = /releases/web/software.cfg
software-path = {software}
context = {folder}/.slapos-context.json
"""


class Partition:
    """A folder with a context; `run` does what the node's builder does in its fork."""

    def __init__(self, folder: Path, software: Path = Path("/opt/web"), **instance: Any) -> None:
        self.folder = folder
        self.software = software
        self.master_url = "http://master"
        self.order(**instance)

    def order(
        self,
        ipv4: tuple[str, ...] = ("127.0.0.1",),
        ipv6: tuple[str, ...] = (),
        context: Mapping[str, Any] | None = None,
        **instance: Any,
    ) -> None:
        """Have the instance ordered anew, with the fields that differ from an ordinary one, in another context maybe."""
        told = PartitionContext(
            master_url=self.master_url,
            computer="COMP-1",
            software_path=str(self.software),
            ipv4=ipv4,
            ipv6=ipv6,
            instance=DesiredInstance.model_validate({**ORDINARY, **instance}),
            **(context or {}),
        )
        (self.folder / CONTEXT_FILE).write_text(told.model_dump_json())

    def run(self, profile: str) -> Buildout:
        with self.read(profile) as buildout:
            buildout.install(())
        return buildout

    @contextmanager
    def read(self, profile: str) -> Iterator[Buildout]:
        """The buildout before it installs anything."""
        config = self.folder / "buildout.cfg"
        config.write_text(
            f"[buildout]\ndirectory = {self.folder}\noffline = true\nnewest = false\nlog-level = ERROR\n"
            + CONNECTION.format(folder=self.folder, software=self.software)
            + dedent(profile)
        )
        with _process_as_it_was():
            yield Buildout(str(config), [], False)

    def text(self, path: str) -> str:
        return (self.folder / path).read_text()


@contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Buildout changes the working directory, and adds its handlers to the loggers."""
    folder, loggers = Path.cwd(), (logging.getLogger(), logging.getLogger("zc.buildout"))
    before = [(logger, list(logger.handlers), logger.level, logger.propagate) for logger in loggers]
    try:
        yield
    finally:
        os.chdir(folder)
        for logger, handlers, level, propagate in before:
            logger.handlers, logger.level, logger.propagate = handlers, level, propagate


ORDINARY = {
    "guid": "INST-7",
    "partition": "slappart7",
    "reference": "shop",
    "root": "INST-1",
    "root_reference": "mall",
    "software_release": "/releases/web/software.cfg",
    "software_type": "default",
    "parameters": {},
    "state": InstanceState.STARTED,
    "token": "secret",
}
