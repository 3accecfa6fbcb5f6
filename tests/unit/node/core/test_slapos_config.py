"""A slapos.cfg of SlapOS's own node serves ours as it stands."""

from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.core.config import NodeConfig, read

# All that slapos.core 1.26.1 reads from these sections, and others of the file.
OF_A_NODE = """
[slapos]
computer_id = COMP-123456789
master_url = https://slap.example.com/
master_rest_url = https://slap.example.com/hateoas
key_file = /etc/opt/slapos/ssl/computer.key
cert_file =  /etc/opt/slapos/ssl/computer.crt
certificate_repository_path = /etc/opt/slapos/ssl/partition_pki
software_root = /opt/slapgrid
instance_root = /srv/slapgrid
shared_part_list =
  /opt/slapgrid/read_only_shared
  /opt/slapgrid/shared
root_check = False
pidfile_software = /opt/slapos/slapgrid-sr.pid
partition_timeout = 600
forbid_supervisord_automatic_launch = true

[slapformat]
interface_name = lo
create_tap = false
partition_amount = 3
computer_xml = /opt/slapos/slapos.xml
log_file = /opt/slapos/log/slapos-node-format.log
partition_base_name = slappart
user_base_name = slapuser
tap_base_name = slaptap
tap_ipv6 = true
ipv4_local_network = 10.0.0.0/16
ipv6_prefixshift = 16

[slapproxy]
host = 127.0.0.1

[networkcache]
download-cache-url = http://shacache.example.com
signature-certificate-list =
  -----BEGIN CERTIFICATE-----

[collect]
enable = True
"""


def test_what_means_something_here_is_taken_and_the_rest_is_left(tmp_path: Path) -> None:
    config = _read(tmp_path, OF_A_NODE)
    assert (config.computer_id, config.instance_timeout, config.format.partition_amount) == ("COMP-123456789", 600, 3)
    assert (str(config.cert_file), str(config.root)) == ("/etc/opt/slapos/ssl/computer.crt", "/opt/slapos")


def test_users_and_addresses_are_made_unless_it_says_otherwise(tmp_path: Path) -> None:
    """As SlapOS's node does: partitions must not become root's because our own file would say nothing."""
    assert _read(tmp_path, OF_A_NODE).format.alter_user
    assert not _read(tmp_path, OF_A_NODE.replace("[slapformat]", "[slapformat]\nalter_user = False")).format.alter_user
    assert not _read(tmp_path, "[slapos]\nroot = /some/where").format.alter_user


def test_nothing_is_closed_that_was_open_unless_it_says_so(tmp_path: Path) -> None:
    assert _read(tmp_path, OF_A_NODE).partition_firewall == "false"
    assert (
        _read(
            tmp_path, "[slapos]\npartition_firewall = auto\n" + OF_A_NODE.replace("[slapos]\n", "", 1)
        ).partition_firewall
        == "auto"
    )
    assert _read(tmp_path, "[slapos]\nroot = /some/where").partition_firewall == "auto"


def test_an_option_may_be_in_the_other_section(tmp_path: Path) -> None:
    """SlapOS's format command reads both as one."""
    text = "[slapos]\ninstance_root = /x/i\nsoftware_root = /x/s\npartition_amount = 5\n[slapformat]\ncomputer_id = C"
    assert _read(tmp_path, text).format.partition_amount == 5


def test_elsewhere_the_nodes_own_things_are_beside_the_partitions(tmp_path: Path) -> None:
    config = _read(tmp_path, "[slapos]\ninstance_root = /x/instance\nsoftware_root = /x/software")
    assert (str(config.root), str(config.software_root)) == ("/x/instance/var/slap", "/x/software")


@pytest.mark.parametrize("text", ["[slapos]\ninstance_rot = /x", "[slapformat]\npartition_amonut = 3"])
def test_what_neither_knows_is_a_mistake(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match="Extra inputs"):
        _read(tmp_path, text)


def _read(folder: Path, text: str) -> NodeConfig:
    (folder / "slapos.cfg").write_text(text)
    return read(folder / "slapos.cfg")
