"""What a program of a partition can do to its node: it runs as the partition's user, and the node as root.

One node with two partitions for all attacks, each of which is tried by the user of the first one.
"""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from slap.model.node import PUBLISHED_FILE, InstanceReport
from slap.model.state import ReportedInstanceState
from slap.node.core.config import NodeConfig
from slap.node.core.store import Store
from slap.system import environment
from slap.system.process import Completed
from slap.system.processes import NODE_MARK, Mark, find_marked
from tests.interpreter import PYTHON
from tests.system.cloud import eventually, release
from tests.system.test_node_as_root import RootNode, a_node

# In the build of its partition it runs what the partition's user leaves there.
PROFILE = """\
[buildout]
parts = service cron publish
[x : os.path.exists("forge.py") and sys.modules["builtins"].exec(sys.modules["builtins"].open("forge.py").read())]
[service]
recipe = slap:service
command-line = /bin/sleep 100000
[cron]
recipe = slap:cron
time = 0 0 1 1 *
command-line = /bin/true
[publish]
recipe = slap:publish
answer = 42
"""
# The answer of an instantiation is the file that a build has as its third descriptor.
FORGE = """\
import json, os
answer = json.dumps({{"id": 0, "outcome": "done"}} | {answer}).encode()
os.pwrite(3, answer, 0)
os._exit(0)
"""
CONFIGURATION = 'x"\n[group:x]\nprograms = x.evil\n[program:x.evil]\ncommand = /bin/sh -c "id > PROOF"\nuser = root\n'


@dataclass(frozen=True)
class Tenant:
    """The first partition of a node, and the second one, its neighbour."""

    node: RootNode

    store: Store
    number: int
    guid: str

    @property
    def partition(self) -> str:
        return f"slappart{self.number}"

    @property
    def folder(self) -> Path:
        return self.node.folder(self.number)

    @property
    def proof(self) -> Path:
        """What an attack that succeeds writes; only root can."""
        return self.node.cloud.folder / "proof"

    def python(self, code: str, *words: str) -> Completed:
        return self.node.as_user(self.number, PYTHON, "-I", "-c", code, *words)

    def shell(self, script: str) -> None:
        done = self.node.as_user(self.number, "/bin/sh", "-c", f"cd {self.folder}; {script}")
        assert done.status == 0, done

    def process_again(self) -> InstanceReport:
        """Have the partition instantiated again; what is reported when that is over."""
        before = self.store.instance_in(self.partition)
        assert before
        self.node.cloud.master().bang_instance(self.guid, "again")
        return eventually(lambda: self._settled(before.revision))

    def _settled(self, before: int) -> InstanceReport | None:
        desired, record = self.store.instance_in(self.partition), self.store.instance_record(self.partition)
        assert desired and record
        is_new = desired.revision > before and record.report.revision == desired.revision
        return record.report if is_new and record.report.state is not ReportedInstanceState.INSTANTIATING else None

    def is_neighbour_well(self) -> bool:
        record = self.store.instance_record(f"slappart{1 - self.number}")
        return record is not None and record.report.state is ReportedInstanceState.STARTED

    def recover(self) -> None:
        """Clear the partition as its user can, and have it well again."""
        self.shell("rm -rf etc .installed.cfg forge.py .slapos-resource .timestamp .buildout")
        assert self.process_again().state is ReportedInstanceState.STARTED


def _abstract_sockets() -> dict[str, str]:
    """Names by inodes."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return {words[6]: words[7] for words in lines if len(words) > 7 and words[7].startswith("@")}


def _open_files(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            yield os.readlink(entry)
        except FileNotFoundError:
            continue


def _sockets(config: NodeConfig) -> list[Path]:
    events = list(config.events.glob("*.sock"))
    assert config.supervisor_socket.is_socket() and events
    return [config.supervisor_socket, config.instance_root / "sv.sock", *events]


if environment.is_root():

    @pytest.fixture(scope="module")
    def tenant() -> Iterator[Tenant]:
        with a_node() as node:
            node.cloud.supply(release(node.cloud.folder / "release", PROFILE))
            for name in ("first", "second"):
                node.cloud.slapos("request", name, str(node.cloud.folder / "release"))
            first = node.cloud.master().instances("first")[0]
            with closing(Store(node.config.store_file)) as store:
                yield Tenant(node, store, node.number("first"), first.guid)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            ('{"installed": {"services": {"evil": CONFIGURATION}}}', "installed.services.evil"),
            ('{"installed": {"runs": {"evil": CONFIGURATION}}}', "installed.runs.evil"),
            ('{"installed": {"services": {CONFIGURATION: ""}}}', "installed.services"),
            ('{"installed": {"crons": {"evil": "* * * * * id\\n* * * * * id"}}}', "installed.crons.evil"),
            ('{"installed": {"patience": {"evil": -1}}}', "installed.patience.evil"),
            ('{"fingerprint": CONFIGURATION}', "fingerprint"),
            ('{"user": 0}', "user"),
        ],
    )
    def test_a_forged_answer_of_an_instantiation_is_refused_and_told(tenant: Tenant, answer: str, words: str) -> None:
        configuration = CONFIGURATION.replace("PROOF", str(tenant.proof))
        code = FORGE.format(answer=answer.replace("CONFIGURATION", repr(configuration)))
        write = "import sys; open(sys.argv[1], 'w').write(sys.argv[2])"
        assert tenant.python(write, str(tenant.folder / "forge.py"), code).status == 0
        told = tenant.process_again()
        assert told.state is ReportedInstanceState.ERROR
        assert "is refused" in told.message and words in told.message
        assert not tenant.proof.exists()
        assert all("evil" not in path.read_text() for path in tenant.node.config.supervisor_folder.iterdir())
        assert tenant.is_neighbour_well()
        tenant.recover()

    @pytest.mark.parametrize(
        ("plant", "words"),
        [
            ('echo \'[x : open("{proof}", "w")]\' >> .installed.cfg', "the header of a section has an expression"),
            ("echo '[x:sys.exit(1)] # a' >> .installed.cfg", "the header of a section has an expression"),
            ("rm .installed.cfg; mkfifo .installed.cfg", "no ordinary file"),
            ("rm .installed.cfg; ln -s /etc/shadow .installed.cfg", "no ordinary file"),
            ("rm .installed.cfg; truncate -s 100G .installed.cfg", "is larger than"),
            ("rm etc/cron.d/cron; ln -s /etc/shadow etc/cron.d/cron", ""),
            ("rm -f .slapos-resource .timestamp; mkdir .slapos-resource", ".slapos-resource: Is a directory"),
            ("ln -sf /etc/shadow etc/service/shadow; truncate -s 100G etc/service/huge", "shadow"),
            ("mkfifo etc/service/pipe etc/promise/pipe etc/plugin/pipe.json", ""),
            ("rm -rf etc/service; ln -s /root etc/service", "Permission denied"),
            ("rm -rf etc; ln -s /root etc", "Permission denied"),
            ("touch 'etc/service/a b'", "not a name"),
            ("touch \"etc/service/$(printf 'a\\nuser=root')\"", "not a name"),
            ('mkdir -p .buildout; echo \'[x : open("{proof}", "w")]\' > .buildout/default.cfg', ""),
        ],
    )
    def test_what_a_partition_leaves_for_its_next_instantiation_leads_root_nowhere(
        tenant: Tenant, plant: str, words: str
    ) -> None:
        tenant.shell(plant.replace("{proof}", str(tenant.proof)))
        told = tenant.process_again()
        assert words in told.message and (not words or told.state is ReportedInstanceState.ERROR)
        assert not tenant.proof.exists()
        assert "root:" not in (tenant.node.config.partition_logs / tenant.partition / "buildout.log").read_text()
        assert tenant.is_neighbour_well()
        tenant.recover()

    @pytest.mark.parametrize(
        "code",
        [
            "socket.socket(socket.AF_UNIX).connect(path)",
            "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'* pass asked', path)",
        ],
    )
    def test_no_socket_of_the_node_is_within_reach(tenant: Tenant, code: str) -> None:
        for path in _sockets(tenant.node.config):
            refused = tenant.python(f"import socket, sys; path = sys.argv[1]; {code}", str(path))
            assert "PermissionError" in refused.stderr, (path, refused)

    def test_no_process_of_the_node_listens_at_an_abstract_socket(tenant: Tenant) -> None:
        names = _abstract_sockets()
        for pid in find_marked(Mark(NODE_MARK, str(tenant.node.config.root))):
            for opened in _open_files(pid):
                assert opened.removeprefix("socket:[").removesuffix("]") not in names, (pid, opened)

    @pytest.mark.parametrize("name", ["agent.lock", "supervisord.lock", "pass-instance.lock"])
    def test_no_lock_of_the_node_can_be_held(tenant: Tenant, name: str) -> None:
        """To hold one by flock(2) takes no more than the right to read it; no agent would start any more."""
        path = tenant.node.config.run / name
        if name == "pass-instance.lock":
            tenant.node.cloud.slapos("node", "instance", check=False)
        assert path.exists()
        refused = tenant.python("import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX)", str(path))
        assert "PermissionError" in refused.stderr

    @pytest.mark.parametrize(
        "make",
        [
            "printf '{\"n\": NaN}' > FILE",
            "yes '[' | head -n 30000 > FILE",
            "ln -s /etc/shadow FILE",
            "mkfifo FILE",
            "ln -s /dev/zero FILE",
            "truncate -s 100G FILE",
            "mkdir FILE",
        ],
    )
    def test_what_a_service_publishes_while_it_runs_holds_up_nobody(tenant: Tenant, make: str) -> None:
        tenant.shell(f"rm -rf {PUBLISHED_FILE}; {make.replace('FILE', PUBLISHED_FILE)}")
        told = tenant.process_again()
        assert told.state is ReportedInstanceState.ERROR and PUBLISHED_FILE in told.message
        assert told.connection is not None and told.connection["answer"] == "42"
        assert tenant.is_neighbour_well()
        tenant.shell(f"rm -rf {PUBLISHED_FILE}")

    def test_its_programs_gain_no_rights(tenant: Tenant) -> None:
        """A set-user-ID program that another partition left somewhere would be that partition."""
        for pid in tenant.node.processes(tenant.number):
            assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()

    def test_a_tree_of_a_great_depth_is_removed_with_its_partition(tenant: Tenant) -> None:
        """Last: deeper than a program can call itself, and than it can have folders open."""
        deep = "import os\nfor _ in range(3000):\n    os.mkdir('d'); os.chdir('d')"
        assert tenant.python(f"import os; os.chdir({str(tenant.folder)!r})\n{deep}").status == 0
        folder, shared = tenant.folder, Path("/dev/shm", f"left-{os.getpid()}")
        tenant.shell(f"mkdir {shared}; cp /bin/sh {shared}/sh; chmod u+s {shared}/sh")
        tenant.node.cloud.slapos("service", "destroy", "first")
        assert list(folder.iterdir()) == []
        assert not shared.exists()
