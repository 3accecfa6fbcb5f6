"""The least that a SlapOS release can do: a file, a service with a promise, and a request of a child.

Cheaper than slapos.cookbook and slapos.toolbox, which a real release uses: the comparison leans to SlapOS's side.
"""

import os
from collections.abc import Mapping

PROMISE = """import sys
sys.path[0:0] = {path!r}
import socket
from zope.interface import implementer
from slapos.grid.promise import interface
from slapos.grid.promise.generic import GenericPromise

@implementer(interface.IPromise)
class RunPromise(GenericPromise):
  def sense(self):
    try:
      socket.create_connection(({host!r}, {port}), 5).close()
      self.logger.info("port is open")
    except OSError as error:
      self.logger.error(str(error))
  def test(self):
    return self._test(result_count=1, failure_amount=1)
  def anomaly(self):
    return self._anomaly(result_count=3, failure_amount=3)
"""


Sections = Mapping[str, Mapping[str, str]]


class Recipe:
    def __init__(self, buildout: Sections, name: str, options: Mapping[str, str]) -> None:
        self.options = options
        self.connection = buildout.get("slap-connection", {})
        self.folder = buildout["buildout"]["directory"]

    def install(self) -> tuple[str, ...]:
        raise NotImplementedError

    def update(self) -> None:
        self.install()

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)


class File(Recipe):
    """`content` in `path`."""

    def install(self) -> tuple[str, ...]:
        self.write(self.options["path"], self.options["content"])
        return ()


class Service(Recipe):
    """The payload on this partition's loopback address, kept by supervisord and watched by a promise."""

    def install(self) -> tuple[str, ...]:
        number = int("".join(filter(str.isdigit, self.connection["partition-id"])))
        host, port = f"127.78.{number // 250}.{number % 250 + 1}", int(self.options["port"])
        command = f"exec {self.options['python']} -I -S {self.options['program']} {host} {port}"
        self.write("etc/service/listen", f"#!/bin/sh\n{command}\n", 0o755)
        self.write("etc/plugin/__init__.py", "")
        self.write("etc/plugin/listen.py", PROMISE.format(path=[], host=host, port=port))
        return ()


class Request(Recipe):
    """With a depth beyond 1: request a child of one less, and publish what the child published, or this address."""

    def __init__(self, buildout: Sections, name: str, options: Mapping[str, str]) -> None:
        import slapos.slap  # here, because it takes a quarter of a second, and only trees need it

        super().__init__(buildout, name, options)
        client = slapos.slap.slap()
        client.initializeConnection(self.connection["server-url"])
        self.own = client.registerComputerPartition(self.connection["computer-id"], self.connection["partition-id"])
        depth = int(self.own.getInstanceParameterDict().get("depth", 1))
        self.leaf = "leaf" if depth == 1 else ""
        if depth > 1:
            child = self.own.request(
                self.connection["software-release-url"],
                "RootSoftwareInstance",
                f"child{depth - 1}",
                partition_parameter_kw={"depth": str(depth - 1)},
            )
            self.leaf = (child._connection_dict or {}).get("leaf", "")

    def install(self) -> tuple[str, ...]:
        if not self.leaf:
            raise RuntimeError("the child has published nothing yet")
        self.own.setConnectionDict({"leaf": self.leaf})
        return ()
