"""Several who may write into one cache: none of them removes, or has gc remove, what another one stored."""

import os
import subprocess
import time
from pathlib import Path

from slap.cache.server.statement import key_digest
from slap.cache.trust.envelope import sign_statement
from slap.cache.trust.sign import sign_revocation
from slap.model.cache import REVOCATION_TYPE, Revocation, SignedEntry
from tests.system.cache_server import CacheServer, cache_server
from tests.system.typed import SLAPOS
from tests.unit.cache.trust_world import World


def typed(server: CacheServer, *words: str) -> str:
    argv: list[str | Path] = [SLAPOS, "cache", *words, "--cfg", server.folder / "cache.cfg"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def forged(world: World, number: int) -> SignedEntry:
    """A revocation in the builder's name, signed by somebody else."""
    victim = world.key().public.id
    signed = sign_statement(REVOCATION_TYPE, Revocation(key=victim, at=number), world.key("thief"))
    signature = signed.signatures[0].model_copy(update={"keyid": victim})
    return signed.model_copy(update={"signatures": (signature,)})


def test_a_revocation_outlives_those_that_were_forged_to_push_it_out(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    world = World(tmp_path / "keys")
    place = f"/api/v1/entries/{key_digest(world.key().public.id)}"
    genuine = sign_revocation(world.key(), time.time())
    with cache_server(tmp_path) as server:
        owner, thief = (f"Bearer {typed(server, 'token', name)}" for name in ("owner", "thief"))

        def put(signed: SignedEntry, whose: str) -> int:
            return server.ask("PUT", place, signed.model_dump_json(), Authorization=whose).status

        def told() -> list[SignedEntry]:
            return [SignedEntry.model_validate(each) for each in server.ask("GET", place).json["entries"]]

        assert put(genuine, owner) == 201
        statuses = [put(forged(world, number), thief) for number in range(70)]
        assert statuses == [201] * 60 + [429] * 10
        assert genuine in told() and len(told()) == 5
        again = sign_revocation(world.key(), time.time() + 1)
        assert put(again, owner) == 201
        for path in server.objects():
            os.utime(path, (1, 1))
        typed(server, "gc", "--superseded", "0")
        server.kill()  # forgets what it has in memory
        server.start()
        assert again in told() and len(told()) == 2  # the newest one of each writer
