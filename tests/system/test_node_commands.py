"""`slapos node ...` as operators of SlapOS type it: with an agent, without one, and without a master."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from slap.model.errors import Unreachable
from slap.node.core.config import read
from slap.node.partition.supervision import connect
from slap.system import environment
from slap.system.supervisor import News, ProcessState
from tests.system.cloud import Cloud, Result, eventually, release, small_cloud
from tests.system.typed import SLAPOS

# The file decides whether the promise holds.
PROFILE = """\
[buildout]
parts = promise service publish
[promise]
recipe = slap:template
output = ${{buildout:directory}}/etc/promise/file
mode = 700
inline =
    #!/bin/sh
    test -e {folder}/holds || {{ echo "no file"; exit 1; }}
[service]
recipe = slap:service
command-line = /bin/sleep 100000
[publish]
recipe = slap:publish
answer = 42
"""

SLOW = """\
[buildout]
parts = slow
[slow]
recipe = slap:download
url = http://127.0.0.1:{port}/file
sha256 = 0000000000000000000000000000000000000000000000000000000000000000
"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with small_cloud(2) as made:
        (made.folder / "holds").touch()
        made.supply(release(made.folder / "r", PROFILE.format(folder=made.folder)))
        made.slapos("request", "web", str(made.folder / "r"))
        yield made


@pytest.fixture
def alone(cloud: Cloud) -> Iterator[Cloud]:
    """The node without its agent."""
    node(cloud, "stop", "slapos-agent")
    yield cloud
    node(cloud, "start", "slapos-agent")


def node(cloud: Cloud, *words: str, check: bool = True) -> Result:
    return cloud.slapos("node", *words, check=check)


def service_pid(cloud: Cloud) -> int:
    return next((each.pid for each in cloud.processes("slappart0") if each.name == "service"), 0)


def built_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def log_of(cloud: Cloud) -> Path:
    return cloud.folder / "log/partition/slappart0/buildout.log"


@pytest.mark.parametrize("words", [("--force",), ("--all",), ("--only-cp", "slappart0", "--force")])
def test_force_processes_again_and_waits_for_the_agent(cloud: Cloud, words: tuple[str, ...]) -> None:
    before, pid = built_at(log_of(cloud)), service_pid(cloud)
    done = node(cloud, "instance", *words)
    assert "The agent runs" in done.stderr
    assert (built_at(log_of(cloud)) > before, service_pid(cloud)) == (True, pid)


@pytest.mark.parametrize("words", [("--force",), ("--all",), ("--only", "slappart0,slappart1", "--force")])
def test_force_processes_again_without_an_agent(alone: Cloud, words: tuple[str, ...]) -> None:
    before, pid = built_at(log_of(alone)), service_pid(alone)
    assert "The agent" not in node(alone, "instance", *words).stderr
    assert (built_at(log_of(alone)) > before, service_pid(alone)) == (True, pid)


def test_nothing_is_processed_again_without_a_reason(alone: Cloud) -> None:
    before = built_at(log_of(alone))
    node(alone, "instance", "--only-cp", "slappart0")
    node(alone, "instance", "--maximum-periodicity", "86400")
    assert built_at(log_of(alone)) == before


def test_a_partition_without_its_time_stamp_is_processed_again(alone: Cloud) -> None:
    before = built_at(log_of(alone))
    (alone.srv / "slappart0/.timestamp").unlink()
    node(alone, "instance")
    assert built_at(log_of(alone)) > before
    assert (alone.srv / "slappart0/.timestamp").exists()


def test_a_release_is_built_again_by_force_named_by_url_or_md5(cloud: Cloud) -> None:
    (built,) = (path for path in (cloud.folder / "opt").glob("[0-9a-f]*") if path.is_dir())
    for name in (str(cloud.folder / "r/software.cfg"), built.name):
        before = built_at(built / ".completed")
        node(cloud, "software", "--only-sr", name, "--force")
        assert built_at(built / ".completed") > before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("instance", "--only-cp", "slappart7"), "no partition slappart7"),
        (("instance", "--only-cp", ","), "names nothing"),
        (("software", "--only-sr", "http://no.where/software.cfg"), "no software release"),
        (("promise", "--only-cp", "slappart7"), "no partition slappart7"),
        (("start", "slappart7"), "Nothing is supervised in slappart7"),
        (("stop", "slappart0:nothing"), "has no process nothing"),
    ],
)
def test_a_name_that_is_none_is_a_mistake(cloud: Cloud, words: tuple[str, ...], said: str) -> None:
    done = node(cloud, *words, check=False)
    assert (done.status in (1, 2), said in done.stderr) == (True, True), done


def _not_passed(cloud: Cloud, words: tuple[str, ...]) -> Result | None:
    """What a pass says of promises that fail; on a busy machine it may run out of time before it gets to them."""
    done = node(cloud, *words, check=False)
    return done if done.status == 2 else None


def test_a_promise_that_fails_has_slapos_exit_status(alone: Cloud) -> None:
    try:
        (alone.folder / "holds").unlink()
        for words in (("promise", "--only-cp", "slappart0"), ("instance", "--force", "--timeout", "3")):
            failed = eventually(partial(_not_passed, alone, words), 60)
            assert "no file" in failed.stdout + failed.stderr
    finally:
        (alone.folder / "holds").touch()
    assert node(alone, "promise").stdout == "slappart0 file passed\n"


def test_without_its_master_a_pass_does_what_was_last_wanted(alone: Cloud) -> None:
    """Also what was stopped by hand runs again, for the partition is processed anew."""
    node(alone, "stop", "slappart0")
    (alone.srv / "slappart0/.timestamp").unlink()
    away = ("--master-url", "http://127.0.0.1:9")
    done = node(alone, "instance", *away, check=False)
    assert (done.status, "did not answer" in done.stderr) == (3, True), done
    assert service_pid(alone)
    assert node(alone, "software", *away, check=False).status == 1


def test_services_are_stopped_by_force_until_they_are_started(cloud: Cloud) -> None:
    assert node(cloud, "instance", "--force-stop", "--only-cp", "slappart0").stdout == "slappart0  stopped\n"
    assert service_pid(cloud) == 0
    node(cloud, "start", "slappart0:service-on-watch")
    assert service_pid(cloud)
    pid = service_pid(cloud)
    node(cloud, "restart", "slappart0:*")
    assert service_pid(cloud) not in (0, pid)


def test_software_and_instances_are_passed_over_side_by_side(alone: Cloud) -> None:
    """A build that hangs keeps no partition waiting, and is not ended by the pass over them."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = alone.folder / "slow/software.cfg"
        slow.parent.mkdir()
        slow.write_text(SLOW.format(port=silent.getsockname()[1]))
        alone.slapos("supply", str(slow), alone.computer)
        with hanging(alone, "node", "software") as building:
            log = alone.folder / "log/slapos-node-software.log"
            eventually(lambda: f"Building {slow}" in log.read_text())
            assert node(alone, "software", check=False).status == 10
            before = built_at(log_of(alone))
            node(alone, "instance", "--force")
            assert (built_at(log_of(alone)) > before, building.poll()) == (True, None)
    alone.slapos("remove", str(slow), alone.computer)
    node(alone, "software")


@contextmanager
def hanging(cloud: Cloud, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is killed in the end."""
    env = {"PATH": environment.CLEAN_PATH, "HOME": str(cloud.folder), "SLAPOS_CONFIGURATION": str(cloud.cfg)}
    process = subprocess.Popen([SLAPOS, *words], env=env, cwd=cloud.folder, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_supervisors_own_client_and_daemon_work(cloud: Cloud) -> None:
    assert "slappart0:service" in node(cloud, "supervisorctl", "status").stdout
    assert node(cloud, "supervisorctl", "pid", "slappart0:service").stdout.strip() == str(service_pid(cloud))
    assert node(cloud, "supervisorctl", "start", "nothing", check=False).status != 0
    assert "runs already" in node(cloud, "supervisord").stderr
    assert "runs already" in node(cloud, "supervisord", "--nodaemon").stderr


def test_operators_find_supervisor_where_slapos_has_it(cloud: Cloud) -> None:
    config = read(cloud.cfg)
    assert connect(config.model_copy(update={"root": cloud.folder}), News()).pid() > 0
    assert (cloud.srv / "sv.sock").resolve() == config.supervisor_socket
    for name in (
        "etc/supervisord.conf",
        "etc/supervisord.conf.d",
        "var/log/supervisord.log",
        "var/run/supervisord.pid",
    ):
        assert (cloud.srv / name).exists(), name


def test_a_free_release_is_collected_as_garbage(cloud: Cloud) -> None:
    stray = cloud.folder / "opt" / ("0" * 32)
    stray.mkdir()
    done = node(cloud, "software", "--garbage-collect")
    assert (stray.exists(), str(stray) in done.stdout) == (False, True)
    assert len([path for path in (cloud.folder / "opt").glob("[0-9a-f]*") if path.is_dir()]) == 1


def test_a_computer_is_formatted_as_it_was_written_down(cloud: Cloud) -> None:
    node(cloud, "format", "-o", "definition.cfg", "--computer_json", "computer.json")
    text = (cloud.folder / "definition.cfg").read_text()
    assert "[partition_1]\npathname = slappart1" in text
    (cloud.folder / "definition.cfg").write_text(text.replace("pathname = slappart1", "pathname = other"))
    refused = node(cloud, "format", "-i", "definition.cfg", "--dry_run", check=False)
    assert (refused.status, "'other'" in refused.stderr) == (1, True)
    (cloud.folder / "definition.cfg").write_text(text)
    assert node(cloud, "format", "-i", "definition.cfg", "-n", "--now").stdout == ""


def test_status_of_some_processes_only(cloud: Cloud) -> None:
    rows = node(cloud, "status", "slappart0:service", "slappart1", "-f", "json").json
    assert [(row["Partition"], row["State"], row["Service"]) for row in rows] == [
        ("slappart0", ProcessState.RUNNING, "web")
    ]


def test_supervisord_runs_in_the_foreground_for_systemd(cloud: Cloud) -> None:
    """Last, for all that ran has to end first; services come back, for their files are still there."""
    cloud.down()
    with hanging(cloud, "node", "supervisord", "--nodaemon") as process:
        eventually(lambda: connect_pid(cloud) == process.pid)
        assert eventually(lambda: service_pid(cloud))
        cloud.down()
        assert process.wait(20) == 0


def connect_pid(cloud: Cloud) -> int:
    try:
        return connect(read(cloud.cfg), News()).pid()
    except Unreachable:
        return 0
