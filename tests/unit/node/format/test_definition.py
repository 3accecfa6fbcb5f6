"""Computers that were written down by hand."""

from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.core.config import FormatConfig, read
from slap.node.format.definition import definition_text, read_definition, wanted_partitions
from slap.node.format.plan import partitions_of

CONFIG = FormatConfig(partition_amount=2, ipv4_local_network="10.7.0.0/24", ipv6_prefix="2001:db8::/64")
TEXT = definition_text(partitions_of(CONFIG), CONFIG)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "computer.cfg").write_text(TEXT)
    assert read_definition(tmp_path / "computer.cfg", CONFIG) == partitions_of(CONFIG)


def test_partitions_that_the_configuration_says_are_written_down_are_not_counted(tmp_path: Path) -> None:
    written = tmp_path / "computer.cfg"
    written.write_text(TEXT.replace("10.7.0.2", "10.7.0.99"))
    (tmp_path / "slapos.cfg").write_text(
        f"[slapos]\nsoftware_root = /opt/slapgrid\ninstance_root = /srv/slapgrid\n"
        f"[slapformat]\npartition_amount = 2\ninput_definition_file = {written}\n"
    )
    config = read(tmp_path / "slapos.cfg").format
    assert [each.ipv4 for each in wanted_partitions(config)] == [("10.7.0.99",), ("10.7.0.3",)]
    assert wanted_partitions(CONFIG) == partitions_of(CONFIG)
    written.unlink()
    with pytest.raises(InvalidInput, match=r"computer\.cfg"):
        wanted_partitions(config)


def test_slapos_own_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "computer.cfg").write_text(
        "[computer]\naddress = 42.42.42.42/255.255.255.0\n[partition_0]\naddress = 0.0.0.5/0.0.0.6\n"
        "pathname = slappart0\nuser = testuser\nnetwork_interface = slaptap0\n"
    )
    (read,) = read_definition(tmp_path / "computer.cfg", FormatConfig(partition_amount=1))
    assert (read.name, read.ipv4, read.tap) == ("slappart0", ("0.0.0.5",), "slaptap0")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[partition_1]", "[partition_7]", "partition_1] is missing"),
        ("pathname = slappart1", "pathname = other", "'other' and not 'slappart1'"),
        ("pathname = slappart1", "", "'' and not 'slappart1'"),
        ("10.7.0.3/", "10.7.0.333/", "10.7.0.333"),
        ("[computer]", "computer", "no section headers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, before: str, after: str, said: str) -> None:
    (tmp_path / "computer.cfg").write_text(TEXT.replace(before, after))
    with pytest.raises(InvalidInput, match="no definition") as refused:
        read_definition(tmp_path / "computer.cfg", CONFIG)
    assert said in refused.value.details


def test_a_user_that_is_not_the_partitions_is_refused_where_there_are_users(tmp_path: Path) -> None:
    (tmp_path / "computer.cfg").write_text(TEXT.replace("user = slapuser1", "user = root"))
    read_definition(tmp_path / "computer.cfg", CONFIG)
    with pytest.raises(InvalidInput):
        read_definition(tmp_path / "computer.cfg", CONFIG.model_copy(update={"alter_user": True}))
