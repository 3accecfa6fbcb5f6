"""What SlapOS's node made stays where it is: `computer.xml` is what slapos.core 1.26.1 remembers its partitions by."""

from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.core.config import FormatConfig, read
from slap.node.format.definition import wanted_partitions
from slap.node.format.plan import partitions_of

RECORDED = Path(__file__).parent / "computer.xml"
CONFIG = FormatConfig(partition_amount=2, ipv4_local_network="10.0.0.0/16", computer_xml=str(RECORDED), alter_user=True)


def test_partitions_keep_the_addresses_that_slapos_gave_them() -> None:
    first, second = wanted_partitions(CONFIG)
    assert (first.name, first.ipv4, first.ipv6) == ("slappart0", ("10.0.248.12",), ("2001:db8:7:1::9a21",))
    assert (second.name, second.ipv4, second.tap) == ("slappart1", ("10.0.17.3",), "slaptap1")


def test_the_file_that_a_slapos_cfg_names_is_read(tmp_path: Path) -> None:
    cfg = tmp_path / "slapos.cfg"
    cfg.write_text(
        f"[slapos]\nsoftware_root = /opt/slapgrid\ninstance_root = /srv/slapgrid\n"
        f"[slapformat]\npartition_amount = 1\ncomputer_xml = {RECORDED}\n"
    )
    assert wanted_partitions(read(cfg).format)[0].ipv4 == ("10.0.248.12",)


def test_more_partitions_than_slapos_made_are_counted_past_what_is_taken(tmp_path: Path) -> None:
    """Counting alone would give slappart3 the address of slappart1."""
    moved = tmp_path / "computer.xml"
    moved.write_text(RECORDED.read_text().replace("10.0.17.3", "10.0.0.3"))
    partitions = wanted_partitions(CONFIG.model_copy(update={"partition_amount": 4, "computer_xml": str(moved)}))
    assert [each.name for each in partitions] == ["slappart0", "slappart1", "slappart2", "slappart3"]
    assert [each.ipv4[0] for each in partitions] == ["10.0.248.12", "10.0.0.3", "10.0.0.2", "10.0.0.4"]


def test_without_the_file_partitions_are_counted(tmp_path: Path) -> None:
    absent = CONFIG.model_copy(update={"computer_xml": str(tmp_path / "none.xml")})
    assert wanted_partitions(absent) == partitions_of(CONFIG)


def test_what_is_written_down_goes_before_what_is_remembered(tmp_path: Path) -> None:
    written = tmp_path / "computer.cfg"
    written.write_text("[partition_0]\naddress = 10.0.9.9/32\npathname = slappart0\nuser = slapuser0\n")
    config = CONFIG.model_copy(update={"partition_amount": 1, "input_definition_file": str(written)})
    assert wanted_partitions(config)[0].ipv4 == ("10.0.9.9",)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("slapuser1", "root", "'root' and not 'slapuser1'"),
        (">slappart1<", ">other<", "'other' and not 'slappart1'"),
        ("10.0.17.3", "10.0.17.333", "10.0.17.333"),
        ("partition_list", "partitions", "no partition_list"),
        ("<marshal>", "<marshal", "not well-formed"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(tmp_path: Path, before: str, after: str, said: str) -> None:
    wrong = tmp_path / "computer.xml"
    wrong.write_text(RECORDED.read_text().replace(before, after))
    with pytest.raises(InvalidInput) as refused:
        wanted_partitions(CONFIG.model_copy(update={"computer_xml": str(wrong)}))
    assert said in refused.value.details
    assert "computer_xml" in refused.value.resolution
