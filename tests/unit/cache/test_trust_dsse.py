"""An entry that another implementation of DSSE signed (recorded) is read as one of ours."""

import json
from pathlib import Path

from slap.cache.trust.envelope import parse_envelope
from slap.cache.trust.keys import parse_public_key
from slap.cache.trust.store import TrustedKey
from slap.cache.trust.verify import verify
from tests.unit.cache.trust_world import NOW, QUESTION, World

RECORDED = json.loads(Path(__file__).with_name("recorded").joinpath("dsse.json").read_text())


def test_an_envelope_of_securesystemslib_is_taken(world: World) -> None:
    world.store.trust(TrustedKey(parse_public_key(RECORDED["line"])))
    found = verify(parse_envelope(json.dumps(RECORDED["envelope"])), world.store, QUESTION)
    assert (found.key.comment, found.entry.version) == ("by securesystemslib 1.6.0", NOW)


def test_ours_has_the_same_form(world: World) -> None:
    ours = json.loads(world.signed().model_dump_json())
    theirs = RECORDED["envelope"]
    assert ours.keys() == theirs.keys()
    assert ours["signatures"][0].keys() == theirs["signatures"][0].keys()
    assert ours["payloadType"] == theirs["payloadType"]
