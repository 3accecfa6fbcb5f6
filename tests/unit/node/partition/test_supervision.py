"""What supervisord is told of a partition: nothing that a tenant names can say more than it should."""

from pathlib import Path

import pytest
from supervisor.options import UnhosedConfigParser

from slap.model.errors import InvalidInput
from slap.node.core.config import NodeConfig
from slap.node.core.file_names import check_file_name
from slap.node.core.store import Installed
from slap.node.partition.folder import Partitions
from slap.node.partition.supervision import Program, group_text, partition_environment
from tests.unit.node.things import PART, a_config


def parsed(text: str) -> UnhosedConfigParser:
    parser = UnhosedConfigParser()
    parser.read_string(text)
    return parser


def group_of(config: NodeConfig, installed: Installed) -> str:
    return Partitions(config).get(PART).group(installed)


def test_services_are_kept_running_and_programs_run_once(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    parser = parsed(group_of(config, Installed(services={"web": "1"}, runs={"init": "2"})))
    assert sorted(parser["group:slappart0"]["programs"].split(",")) == ["slappart0.init", "slappart0.web"]
    web, init = parser["program:slappart0.web"], parser["program:slappart0.init"]
    assert (web["autorestart"], web["startsecs"], init["autorestart"], init["startsecs"]) == ("true", "1", "false", "0")
    assert web["command"] == f"{config.partition(PART)}/etc/service/web"
    assert init["command"] == f"{config.partition(PART)}/etc/run/init"
    assert (web["directory"], web["killasgroup"], web["umask"]) == (str(config.partition(PART)), "true", "077")
    assert web["stdout_logfile"] == f"{config.partition_logs}/{PART}/web.log"


def test_an_executable_that_changed_is_another_program(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    before, after = (group_of(config, Installed(services={"web": digest, "b": "5a"})) for digest in "12")
    assert before != after
    assert parsed(before)["program:slappart0.b"] == parsed(after)["program:slappart0.b"]


def test_nothing_to_run_is_nothing_to_say(tmp_path: Path) -> None:
    assert group_of(a_config(tmp_path), Installed()) == ""


def test_percent_signs_stand_for_themselves(tmp_path: Path) -> None:
    program = Program("a", ("/x/100%(here)s", "b c"), tmp_path / "%", tmp_path, {"A": "50%(x)s"}, user="me")
    section = parsed(group_text("g", [program]))["program:g.a"]
    assert section["command"] == "'/x/100%%(here)s' 'b c'"
    assert 'A="50%%(x)s"' in section["environment"]
    assert section["user"] == "me"


def test_what_runs_in_a_partition_knows_its_own_home_and_is_marked(tmp_path: Path) -> None:
    config = a_config(tmp_path)
    home = str(config.partition(PART))
    found = partition_environment(config, PART, "slapuser0")
    assert (found["HOME"], found["USER"], found["TMPDIR"]) == (home, "slapuser0", f"{home}/tmp")
    assert (found["SLAPOS_PARTITION"], found["SLAPOS_NODE_ROOT"]) == (home, str(config.root))


@pytest.mark.parametrize("name", ["web", "web-1.2_x@y+z", "0", "a" * 100])
def test_names_that_are_plain_are_taken(name: str) -> None:
    check_file_name(Path("/p/etc/service") / name)


@pytest.mark.parametrize(
    "name",
    ["a b", "a]", "a\nuser=root", "-a", ".a", "a,b", "a:b", "a%(x)s", "${a:b}", "\N{SNOWMAN}", "a" * 101, "a;b", "a\x00"],
)  # fmt: skip
def test_names_that_could_say_more_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="not a name"):
        check_file_name(Path("/p/etc/service") / name)


@pytest.mark.parametrize(("count", "kept"), [(1, 10 << 20), (100, 10 << 20), (101, 5 << 20), (2000, 10 << 15)])
def test_many_programs_share_what_their_logs_may_take(count: int, kept: int) -> None:
    programs = [Program(f"p{number}", ("/bin/true",), Path("/log"), Path("/"), {}) for number in range(count)]
    assert parsed(group_text("g", programs))["program:g.p0"]["stdout_logfile_maxbytes"] == str(kept)
