"""What a node was last told over an old protocol is known to all processes of a master."""

import asyncio

import pytest

from slap.master.app import open_store
from slap.master.slapos.served_revision import Served
from tests.contract.master.world import World

pytestmark = pytest.mark.sql


def test_what_was_served_is_remembered_beyond_the_process(world: World) -> None:
    node, other = world.computer("one"), world.computer("two")

    async def work() -> list[int]:
        store = open_store(world.database)
        first, second = Served(store), Served(store)
        try:
            latest = await first.latest(node.guid)
            found = [await first.revision(node.guid) - latest, await first.revision("COMP-9")]
            for revision in (7, 7, 5):  # a master that was restored from a backup goes back
                await first.note(node.guid, revision)
                found.append(await second.revision(node.guid))
            await first.note(other.guid, 11)
            return [*found, await second.revision(node.guid), await second.revision(other.guid)]
        finally:
            await store.close()

    assert asyncio.run(work()) == [0, 0, 7, 7, 5, 5, 11]
