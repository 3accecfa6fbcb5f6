"""What tests of a master need around it: users, computers, releases."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
import uvloop

from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.master.access.settings import AccessSettings
from slap.master.api.peer import PeerProtocol
from slap.master.app import create_app
from slap.master.release.settings import ReleaseSettings
from slap.master.schema.validation import SchemaSettings
from slap.master.service.accounts import create_user
from slap.model.computer import ComputerConfiguration, ComputerRegistration, Partition
from slap.model.instance import Instance, InstanceRequest
from slap.model.node import InstanceReport, NodeReport, SupplyReport
from slap.model.software import SupplyRequest

# Releases of tests lie in folders of theirs.
RELEASES = ReleaseSettings(release_folders=(Path("/"),))


@contextmanager
def serving(
    database: str,
    releases: ReleaseSettings = RELEASES,
    schemas: SchemaSettings | None = None,
    access: AccessSettings | None = None,
) -> Iterator[str]:
    """The address of a master on a database, while the block runs."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        app = create_app(database, access, releases=releases, schemas=schemas)
        config = uvicorn.Config(app, http=PeerProtocol, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class SharedServer:
    """One HTTP server for many tests. What it serves begins anew for each of them, on a new database at the same URL."""

    def __init__(self, database: str) -> None:
        self.database = database
        self._app = create_app(database, releases=RELEASES)
        self._server = uvicorn.Server(
            uvicorn.Config(self._app, http=PeerProtocol, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
        )
        self._loop = uvloop.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._thread = Thread(target=self._serve)
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextmanager
    def master(self) -> Iterator[None]:
        """Open the database, and all that a master keeps in memory, while the block runs."""
        lifespan = self._app.router.lifespan_context(self._app)
        before = asyncio.all_tasks(self._loop)
        self._wait_for(lifespan.__aenter__())
        try:
            yield
        finally:
            self._wait_for(self._close(lifespan, before))

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        self._loop.run_until_complete(self._server.serve([self._listener]))
        self._loop.close()

    async def _close(self, lifespan: AbstractAsyncContextManager[object], others: set[asyncio.Task[Any]]) -> None:
        """Close what is open, and cancel what is still under way, as the end of an event loop would."""
        await lifespan.__aexit__(None, None, None)
        left = asyncio.all_tasks() - others - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    def _wait_for(self, work: Coroutine[Any, Any, object]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@dataclass(frozen=True)
class Node:
    """A computer, as its node speaks for it."""

    guid: str
    api: Master

    def report(self, *instances: InstanceReport, supplies: tuple[SupplyReport, ...] = ()) -> None:
        """Report as a node does that acted upon the latest wishes, unless a report says otherwise."""
        revision = self.api.desired_state(self.guid).revision
        latest = {"revision": revision}
        self.api.report(
            self.guid,
            NodeReport(
                instances=tuple(each if each.revision else each.model_copy(update=latest) for each in instances),
                supplies=tuple(each if each.revision else each.model_copy(update=latest) for each in supplies),
            ),
        )

    def token_of(self, instance: Instance) -> str:
        state = self.api.desired_state(self.guid)
        return next(each.token for each in state.instances if each.guid == instance.guid)


class World:
    """A running master. The user `admin` is there; more are made on demand."""

    def __init__(self, address: str, database: str, folder: Path) -> None:
        self.address = address
        self.database = database
        self.folder = folder
        self.token = f"Bearer {create_user(database, 'admin')}"
        self.admin = self.speaking(self.token.removeprefix("Bearer "))

    def user(self, name: str) -> Master:
        return self.speaking(create_user(self.database, name))

    def speaking(self, token: str) -> Master:
        return NativeMaster(self.address, token)

    def computer(self, title: str = "one", partitions: int = 3, owner: Master | None = None, **more: Any) -> Node:
        registered = (owner or self.admin).register_computer(ComputerRegistration(title=title))
        node = Node(registered.guid, self.speaking(registered.token))
        names = [Partition(name=f"slappart{number}", ipv4=(f"127.1.0.{number}",)) for number in range(partitions)]
        node.api.configure_computer(node.guid, ComputerConfiguration(partitions=tuple(names), **more))
        return node

    def release(self, name: str = "release", schema: dict[str, Any] | None = None) -> str:
        """A software release on disk; with a schema, it has the type `default`."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "software.cfg").write_text("[buildout]\nparts =\n")
        if schema is not None:
            types = {"default": {"title": "Default", "request": "input.json"}}
            (folder / "software.cfg.json").write_text(json.dumps({"name": name, "software-type": types}))
            (folder / "input.json").write_text(json.dumps(schema))
        return str(folder / "software.cfg")

    def supplied(self, *nodes: Node, name: str = "release", schema: dict[str, Any] | None = None) -> str:
        """A release that is supplied to computers."""
        url = self.release(name, schema)
        for node in nodes:
            self.admin.supply(SupplyRequest(url=url, computer=node.guid))
        return url

    def partition(self, node: Node, instance: Instance) -> Master:
        return self.speaking(node.token_of(instance))


def order(url: str, reference: str = "service", **more: Any) -> InstanceRequest:
    return InstanceRequest(reference=reference, software_release=url, **more)
