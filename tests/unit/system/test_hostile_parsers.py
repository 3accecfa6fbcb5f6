"""Parsers that root, the master and the cache give others' words to: whatever comes, they answer or raise what they say.

The words are made of pieces that each parser knows, in all orders, with others between.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slap.cache.archive.header import decode
from slap.cache.server.access import token_of
from slap.cache.server.ranges import parse_range
from slap.cache.server.statement import parse_signed_entry, parse_slapos_entry
from slap.cache.trust.envelope import parse_envelope
from slap.cache.trust.keys import parse_public_key
from slap.cache.trust.slapos_entry import parse_slapos_key
from slap.master.access.authority import new_authority
from slap.master.access.csr import public_key_of
from slap.master.hateoas.query import parse as parse_query
from slap.master.settings_slapproxy import read_config as read_slapproxy
from slap.model.cache.manifest import Manifest
from slap.model.certificate import fingerprint_in
from slap.model.errors import SlapError
from slap.model.network.firewall import parse_destination, parse_network
from slap.model.node import parse_desired_state
from slap.model.resources.limits import read_limits
from slap.model.sla_filters import sla_from_filters
from slap.model.slapos.xml import parse_xml
from slap.model.tioxml import read_journal
from slap.model.vm.image import read_state
from slap.model.vm.life_parameters import read_period
from slap.model.vm.parameters import read_parameters
from slap.model.vm.size import read_size
from slap.node.buildout.record import parse_record
from slap.node.core.config import FormatConfig, read
from slap.node.format.definition import read_definition
from slap.node.format.slapos_memory import read_remembered
from slap.node.partition.cron import parse as parse_cron
from slap.system.marshal.read import loads
from slap.system.revocations import parse_list
from slap.system.trust.certificates import new_key_and_request

HUGE = "9" * 5000
_ANY = (
    "",
    " ",
    "\n",
    "\0",
    "\t",
    ":",
    "=",
    "%",
    "/",
    "..",
    "\u202e",
    "é",
    "-1",
    "0",
    "1",
    HUGE,
    "1e999",
    "nan",
    "null",
)
_PEM = ("-----BEGIN CERTIFICATE REQUEST-----\n", "-----END CERTIFICATE REQUEST-----\n", "MAA=\n", "MIIB\n", "\n")


def words(*pieces: str) -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from((*pieces, *_ANY)) | st.text(max_size=3), max_size=12).map("".join)


def changed(text: str) -> st.SearchStrategy[str]:
    """The text with some of it in another place, or replaced."""
    places = st.integers(0, len(text))
    return st.tuples(places, places, words()).map(lambda cut: text[: cut[0]] + cut[2] + text[cut[1] :])


def table(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects with such names."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | words()
    values = st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words(), inner, max_size=2)
    )
    return st.dictionaries(st.sampled_from(names) | st.text(max_size=5), values, max_size=4)


def in_file(parse: Callable[[Path], object]) -> Callable[[str], object]:
    def run(text: str) -> object:
        with TemporaryDirectory() as folder:
            path = Path(folder, "file")
            path.write_text(text)
            return parse(path)

    return run


_FORMAT = FormatConfig(partition_amount=2)
_XML = words(
    "<marshal>", "</marshal>", "<list>", "</list>", "<int>", "</int>", "<dictionary>", "<string/>", "<!DOCTYPE a>"
)
_INI = (
    "[slapos]\n",
    "[slapformat]\n",
    "[networkcache]\n",
    "[limits]\n",
    "[0]\n",
    "partition_amount = ",
    "root = ",
    "\n ",
)
_STATE = '{"computer": "C", "revision": 1, "since": 0, "supplies": [{"url": "/a"}], "instances": [{"guid": "I"}]}'
_ENVELOPE = '{"payloadType": "application/x", "payload": "e30=", "signatures": [{"keyid": "aa", "sig": "AA=="}]}'
_MANIFEST = (
    f'{{"path": "/a", "root": "/", "embeds_path": true, "digest": "{"0" * 128}", "chunks": [["{"0" * 128}", 1, 1]]}}'
)

PARSERS: dict[str, tuple[Callable[[Any], object], st.SearchStrategy[Any]]] = {
    "marshalled XML": (loads, _XML),
    "XML": (parse_xml, _XML),
    "a journal of usage": (read_journal, words("<journal>", "</journal>", "<transaction>", "<movement>", "<quantity>")),
    "SlapOS's filters": (
        sla_from_filters, table("computer_guid", "mode", "retention_delay", "capability", "limit_memory")
    ),
    "limits": (read_limits, st.dictionaries(st.sampled_from(("memory", "processes", "x")), words("G", "%"), max_size=3)),
    "a query of the web interface": (parse_query, words('portal_type:"', '"', " AND ", "title:", "(", ")", "%", "\\")),
    "a line of cron": (
        lambda line: parse_cron("slappart0", "job", line), words("* ", "*/", "0-59 ", "@daily ", "MON ", "L ", "#", ",")
    ),
    "a network": (parse_network, words("10.0.0.0", "/8", "::", "fe80::", "[", "]", "255")),
    "a destination": (parse_destination, words("10.0.0.0", "/8", "::", "[", "]:", "80")),
    "a size": (lambda said: read_size(said, 1 << 20), words("GiB", "M", ".", "1")),
    "a period": (read_period, words("min", "h", "d", "1")),
    "parameters of a machine": (read_parameters, table("memory", "processors", "disk", "image", "ports", "network")),
    "the state of an image": (read_state, words("{", "}", '"state"', '"ready"', "[", "]", ",")),
    "a request for a certificate": (public_key_of, changed(new_key_and_request("a").request) | words(*_PEM)),
    "a list of revoked certificates": (
        lambda text: parse_list(text.encode(), []), changed(new_authority().sign_revocations([])) | words(*_PEM)
    ),
    "a registration token": (fingerprint_in, words("register:", "a" * 64)),
    "a signed envelope": (parse_envelope, changed(_ENVELOPE)),
    "an envelope to file": (lambda text: parse_signed_entry(text.encode()), changed(_ENVELOPE)),
    "an entry of SlapOS": (
        lambda text: parse_slapos_entry("key", text.encode(), False), words('["', '", "', '"]', "[" * 5000, "{}", '\\"')
    ),
    "a manifest": (Manifest.model_validate_json, changed(_MANIFEST)),
    "the line of a public key": (parse_public_key, words("slap-ed25519 ", "A" * 43 + "=", " comment")),
    "the key of a SlapOS cache": (parse_slapos_key, changed(new_authority().certificate)),
    "an Authorization header": (token_of, words("Bearer ", "Basic ", "dTp4", "===")),
    "a Range header": (lambda header: parse_range(header, 10), words("bytes=", "-", "0", ",", "5")),
    "a header in an archive": (lambda block: decode(block), st.binary(min_size=512, max_size=512)),
    "a desired state": (lambda text: parse_desired_state(text.encode()), changed(_STATE)),
    "a record of buildout": (lambda text: parse_record(text, "file"), words("[a]\n", "[a:b]\n", "x = 1\n", "  <= y\n", "%(")),
    "settings of slapproxy": (
        lambda text: read_slapproxy(text, Path("/etc/slapos.cfg")), words("[slapproxy]\n", "port = ", "host = ", *_INI)
    ),
    "settings of a node": (in_file(read), words(*_INI)),
    "a definition of a computer": (in_file(lambda path: read_definition(path, _FORMAT)), words("[partition_0]\n", *_INI)),
    "what SlapOS's node made": (in_file(lambda path: read_remembered(path, _FORMAT)), _XML),
}  # fmt: skip


@pytest.mark.parametrize(("parse", "told"), PARSERS.values(), ids=list(PARSERS))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_a_parser_answers_or_raises_what_it_says(
    parse: Callable[[Any], object], told: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    with suppress(SlapError, ValueError):  # ValidationError of pydantic is a ValueError
        parse(data.draw(told))
