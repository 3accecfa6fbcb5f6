"""The database of a SlapOS slapproxy becomes one of ours."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from slap.master.takeover.convert import rows_of
from slap.master.takeover.migrate import take_over
from slap.master.takeover.slapproxy_database import is_former, read_former
from slap.model.errors import InvalidInput
from slap.system.marshal import dumps
from tests.unit.master.takeover.former_proxy import busy, computer, free, network, parameters, write_tables

_WEB = "/releases/web/software.cfg"


def _supplied(url: str) -> dict[str, str]:
    return {"url": url, "computer_reference": "local_computer", "requested_state": "available"}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    listed = [
        {"slave_title": "root_site", "slave_reference": "root_site", "slap_software_type": "default", "host": "a"}
    ]
    return write_tables(
        tmp_path / "slapproxy.db",
        18,
        {
            "computer": [computer()],
            "software": [_supplied(_WEB)],
            "partition": [
                busy("slappart0", "root", requester_id="user", xml=parameters(_='{"port": 80}')),
                busy(
                    "slappart1", "child", requested_by="root", requester_id="slappart0", requested_state="stopped",
                    connection_xml=parameters(url="http://a"), slave_instance_list=dumps(listed).decode(),
                ),
                free("slappart2"),
            ],
            "partition_network": [network("slappart0", "10.0.0.1"), network("slappart0", "2001:db8::1")],
            "slave": [
                {
                    "reference": "root_site", "computer_reference": "local_computer", "hosted_by": "slappart1",
                    "requester_id": "slappart0", "connection_xml": parameters(site="http://s"),
                }
            ],
            "forwarded_partition_request": [],
        },
    )  # fmt: skip


def test_instances_keep_their_partition_guid_parameters_and_state(database: Path) -> None:
    root, child, shared = rows_of(read_former(database), "admin").instances
    assert (root["guid"], root["requester"], root["reference"]) == ("local_computer-slappart0", "user:admin", "root")
    assert json.loads(root["parameters"]) == {"port": 80}
    assert (child["parent"], child["root"], child["depth"]) == (root["guid"], root["guid"], 1)
    assert (child["wanted"], json.loads(child["connection"])) == ("stopped", {"url": "http://a"})
    assert (shared["host"], shared["parent"], shared["reference"]) == (child["guid"], root["guid"], "site")
    assert shared["guid"] == "root_site"  # by which the host knows it, and may keep files of it
    assert json.loads(shared["parameters"]) == {"host": "a"}
    assert (child["serving"], root["serving"]) == (1, 0)


def test_free_partitions_are_free_and_addresses_are_kept(database: Path) -> None:
    rows = rows_of(read_former(database), "admin")
    assert [each["instance"] for each in rows.partitions][2] is None
    assert rows.computers[0]["free_partitions"] == 1
    assert json.loads(rows.partitions[0]["addresses"]) == ["10.0.0.1", "2001:db8::1"]


def test_before_version_17_the_requester_is_a_partition(tmp_path: Path) -> None:
    partitions = [busy("slappart0", "root"), busy("slappart1", "child", requested_by="slappart0")]
    for row in partitions:
        del row["requester_id"]
    file = write_tables(tmp_path / "old.db", 13, {"computer": [computer()], "partition": partitions})
    root, child = rows_of(read_former(file), "admin").instances
    assert (root["parent"], child["parent"]) == (None, root["guid"])


def test_a_release_in_use_counts_as_supplied(tmp_path: Path) -> None:
    file = write_tables(tmp_path / "proxy.db", 18, {"partition": [busy("slappart0", "root")]})
    (supply,) = rows_of(read_former(file), "admin").supplies
    assert (supply["computer"], supply["url"], supply["requested"]) == ("local_computer", _WEB, "available")


def test_two_instances_of_one_name_both_stay(tmp_path: Path) -> None:
    twice = [busy("slappart0", "root"), busy("slappart1", "root")]
    file = write_tables(tmp_path / "proxy.db", 18, {"partition": twice})
    names = [each["reference"] for each in rows_of(read_former(file), "admin").instances]
    assert names == ["root", "root (2)"]


def test_requests_in_a_circle_end(tmp_path: Path) -> None:
    circle = [busy("slappart0", "a", requester_id="slappart1"), busy("slappart1", "b", requester_id="slappart0")]
    file = write_tables(tmp_path / "proxy.db", 18, {"partition": circle})
    assert len(rows_of(read_former(file), "admin").instances) == 2


def test_it_is_replaced_and_a_copy_is_kept(database: Path) -> None:
    before = database.read_bytes()
    copy = take_over(database, "admin")
    assert copy is not None
    assert copy.read_bytes() == before
    assert not is_former(database)
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT count(*) FROM instance").fetchone() == (3,)
    assert take_over(database, "admin") is None
    assert sorted(path.name for path in database.parent.iterdir()) == [database.name, copy.name]


@pytest.mark.parametrize("left", [b"", b"half a file"])
def test_what_a_former_attempt_left_is_no_obstacle(database: Path, left: bytes) -> None:
    database.with_name("slapproxy.db.new").write_bytes(left)
    assert take_over(database, "admin") is not None


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("xml", "<instance><parameter"),
        ("xml", '<!DOCTYPE a [<!ENTITY b "c">]><instance/>'),
        ("slave_instance_list", "<marshal><object module='os' class='Popen'/></marshal>"),
        ("requested_state", "runing"),
    ],
)
def test_what_cannot_be_understood_is_left_as_it_is(tmp_path: Path, column: str, value: str) -> None:
    row = busy("slappart0", "root", **{column: value})
    file = write_tables(tmp_path / "proxy.db", 18, {"partition": [row]})
    before = file.read_bytes()
    with pytest.raises(InvalidInput):
        take_over(file, "admin")
    assert file.read_bytes() == before


def test_a_version_before_ours_begin_is_refused(tmp_path: Path) -> None:
    file = write_tables(tmp_path / "proxy.db", 3, {"partition": []})
    with pytest.raises(InvalidInput, match="version 3"):
        take_over(file, "admin")


def test_a_database_of_ours_or_none_is_left_alone(tmp_path: Path) -> None:
    assert take_over(tmp_path / "none.db", "admin") is None
    (tmp_path / "text.db").write_text("not a database")
    assert take_over(tmp_path / "text.db", "admin") is None


def test_what_a_killed_slapproxy_had_begun_is_rolled_back_first(tmp_path: Path) -> None:
    killed, file = tmp_path / "killed.db", tmp_path / "proxy.db"
    write_tables(killed, 18, {"partition": [busy(f"slappart{number}", f"a{number}") for number in range(200)]})
    with closing(sqlite3.connect(killed, isolation_level=None)) as connection:
        connection.executescript("PRAGMA cache_size = 1; BEGIN; UPDATE partition18 SET partition_reference = 'lost'")
        for suffix in ("", "-journal"):  # as they are when it is killed now
            file.with_name(file.name + suffix).write_bytes(killed.with_name(killed.name + suffix).read_bytes())
    assert take_over(file, "admin") is not None
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT reference FROM instance ORDER BY reference").fetchone() == ("a0",)


def test_a_database_that_cannot_be_read_now_is_not_taken_for_one_of_ours(database: Path) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(InvalidInput, match="cannot be read now"):
            take_over(database, "admin")
