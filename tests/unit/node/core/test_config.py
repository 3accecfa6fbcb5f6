"""slapos.cfg: what is written is read back, and mistakes are named all at once."""

from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import InvalidInput, NotFound
from slap.node.core.config import FormatConfig, NodeConfig, default_root, read, write


def a_node(root: str = "/some/where", **changes: Any) -> NodeConfig:
    return NodeConfig(master_url="http://m:1", computer_id="COMP-1", **default_root(Path(root)), **changes)


@pytest.mark.parametrize(
    "config",
    [
        a_node(),
        a_node("/"),
        a_node(promise_grace=1.5, parallel_builds=7, build_timeout=0.5),
        a_node(format=FormatConfig(partition_amount=3, alter_user=True, ipv6_prefix="2001:db8::/64")),
        a_node(labels={"Zone": "Paris 12", "a.b": "100%", "k": "x=y", "empty": ""}),
        a_node("/tmp/50%/a${b}"),
    ],
)
def test_what_is_written_is_read_back(tmp_path: Path, config: NodeConfig) -> None:
    path = tmp_path / "etc/slapos.cfg"
    write(path, config)
    assert read(path) == config


def test_managers_are_written_down_only_when_somebody_chose_them(tmp_path: Path) -> None:
    path = tmp_path / "slapos.cfg"
    write(path, a_node())
    assert "manager_list" not in path.read_text()
    write(path, a_node(manager_list="prerm"))
    assert read(path).manager_list == "prerm"


@pytest.mark.parametrize(
    "labels", [{"a=b": "c"}, {"a": "b\nc"}, {"a": " b"}, {"a\n[slapos]\nroot": "/"}, {"#a": "b"}, {"[a]": "b"}]
)
def test_what_such_a_file_cannot_say_is_refused_and_the_former_file_stays(
    tmp_path: Path, labels: dict[str, str]
) -> None:
    path = tmp_path / "slapos.cfg"
    write(path, a_node())
    with pytest.raises(InvalidInput, match="cannot be written"):
        write(path, a_node(labels=labels))
    assert read(path) == a_node()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", ["not a configuration"]),
        ("[slapos]\na = 1\na = 2", ["not a configuration"]),
        ("[slapos]\nparallel_builds = 0\npromise_grace = x\nurll =", ["parallel_builds", "promise_grace", "urll"]),
        ("[slapformat]\nuser_base_name = ../x\npartition_amount = -1", ["user_base_name", "partition_amount"]),
        ("[slapformat]\nalter_user = maybe", ["alter_user"]),
        ("[slapos]\nroot = here", ["not an absolute path"]),
        (f"[slapos]\nroot = /{'x' * 90}", ["too long"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "slapos.cfg"
    path.write_text(text)
    with pytest.raises(InvalidInput) as caught:
        read(path)
    assert [word for word in words if word not in str(caught.value)] == []


def test_bytes_that_are_no_text_are_a_mistake_too(tmp_path: Path) -> None:
    (tmp_path / "slapos.cfg").write_bytes(b"\xff\xfe[slapos]")
    with pytest.raises(InvalidInput, match="not a configuration"):
        read(tmp_path / "slapos.cfg")


def test_without_a_file_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        read(tmp_path / "slapos.cfg")
    assert "slapos node register" in caught.value.resolution


def test_the_layout_of_a_system(tmp_path: Path) -> None:
    path = tmp_path / "slapos.cfg"
    path.write_text("[slapos]\n")
    config = read(path)
    assert str(config.partition("slappart3")) == "/srv/slapgrid/slappart3"
    assert str(config.software("http://example.com/software.cfg").parent) == "/opt/slapgrid"


def test_own_folders_are_closed_and_those_that_partitions_need_are_not(tmp_path: Path) -> None:
    config = NodeConfig(**default_root(tmp_path / "node"))
    config.make_folders()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("node/**/*") if path.is_dir()}
    assert {name for name, mode in modes.items() if mode == 0o700} == {
        "supervisord.conf.d",
        "events",
        "state",
        "software",
    }
