"""slapos.cfg as slapproxy reads it."""

import re
from pathlib import Path

import pytest

from slap.master.settings_slapproxy import read_config
from slap.model.errors import InvalidInput

_PATH = Path("/etc/slapos.cfg")
_TEXT = """
[slapos]
computer_id = local_computer
software_root = /opt/slapgrid
[slapproxy]
host = 127.0.0.1
port = 5001
database_uri = /opt/slapos/slapproxy.db
shacache-content-directory = /opt/shacache
software_product_list =
  kvm https://releases.example/kvm/software.cfg

  web /releases/web/software.cfg
[multimaster/https://other.example]
key = /etc/other.key
cert = /etc/other.crt
software_release_list =
  /releases/web/software.cfg
  /releases/kvm/software.cfg
[multimaster/http://plain.example]
computer = COMP-1
partition = slappart3
"""


def test_what_slapproxy_is_told_is_understood() -> None:
    config = read_config(_TEXT, _PATH)
    assert (config.host, config.port, config.computer_id) == ("127.0.0.1", 5001, "local_computer")
    assert config.database == Path("/opt/slapos/slapproxy.db")
    assert config.beside.products["web"] == "/releases/web/software.cfg"
    other, plain = config.beside.others
    assert other.url == "https://other.example"
    assert (other.certificate, other.key) == (Path("/etc/other.crt"), Path("/etc/other.key"))
    assert other.releases == {"/releases/web/software.cfg", "/releases/kvm/software.cfg"}
    assert (plain.computer, plain.partition, plain.releases) == ("COMP-1", "slappart3", frozenset())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[slapos]\n", r"no section \[slapproxy\]"),
        ("[slapproxy]\nport = 5000\n", "names no database"),
        ("[slapproxy]\ndatabase_uri = a.db\nport = many\n", "port: "),
        ("[slapproxy]\ndatabase_uri = a.db\nprot = 5000\n", "prot: "),
        ("[slapproxy]\ndatabase_uri = a.db\nsoftware_product_list = kvm\n", "'kvm'"),
        ("[slapproxy]\ndatabase_uri = a.db\n[multimaster/ftp://x]\n", "url: String"),
        ("[slapproxy]\ndatabase_uri\n", "cannot be understood"),
    ],
)
def test_what_is_wrong_is_named(text: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_config(text, _PATH)
    assert re.search(expected, str(caught.value))


def test_a_relative_database_lies_beside_the_file() -> None:
    assert read_config("[slapproxy]\ndatabase_uri = a.db\n", _PATH).database == Path("/etc/a.db")
