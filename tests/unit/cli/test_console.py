"""The master under SlapOS's names, and scripts that use them."""

import json
from pathlib import Path
from typing import Any

import pytest

from slap.cli.console.command import namespace
from slap.cli.console.objects import Slap
from slap.cli.console.partition import ComputerPartition
from slap.cli.console.shell import Console, run_script
from slap.client.connect import connect
from slap.client.credentials import Credentials
from slap.model.computer import Computer, ComputerConfiguration, Partition, PartitionUse
from slap.model.errors import InvalidInput, NotFound, UsageError
from slap.model.software import SoftwareRelease, Supply
from slap.system.clock import FakeClock
from tests.unit.cli.fakes import START, FakeTransport, Shell, a_tree, an_instance, started

RELEASE = "http://releases/web/software.cfg"
SUPPLY = Supply(url=RELEASE, computer="COMP-1", requested="available", changed_at=START)


def slap_at(transport: FakeTransport) -> Slap:
    return Slap(connect("http://master", Credentials("token"), transport), Path("/"))


def test_a_request_says_all_that_slapos_can_say() -> None:
    master = FakeTransport({"POST /instances": [an_instance()]})
    order = slap_at(master).registerOpenOrder()
    answer = order.request(
        RELEASE, "web", {"port": "80"}, "big", {"computer_guid": "COMP-1"}, state="stopped", shared=True
    )
    (sent,) = master.sent
    assert (sent["reference"], sent["software_release"], sent["software_type"]) == ("web", RELEASE, "big")
    assert (sent["parameters"], sent["state"], sent["shared"]) == ({"port": "80"}, "stopped", True)
    assert sent["sla"]["computer"] == "COMP-1"
    assert (answer.getState(), answer.getStatus(), answer.getId()) == ("started", "waiting", "slappart0")


def test_wrapped_parameters_are_sent_plain_with_the_form_in_which_they_came() -> None:
    master = FakeTransport({"POST /instances": [an_instance()]})
    slap_at(master).registerOpenOrder().request(RELEASE, "web", partition_parameter_kw={"_": '{"port": 80}'})
    assert (master.sent[0]["parameters"], master.sent[0]["serialisation"]) == ({"port": 80}, "json-in-xml")


def test_an_unknown_state_is_refused_before_anything_is_sent() -> None:
    master = FakeTransport({})
    with pytest.raises(InvalidInput, match="no state 'runing'"):
        slap_at(master).registerOpenOrder().request(RELEASE, "web", state="runing")
    with pytest.raises(InvalidInput, match="no state 'started'"):
        slap_at(master).registerSupply().supply(RELEASE, "COMP-1", "started")
    assert master.asked == []


def test_connection_parameters_are_values_and_also_one_json_text() -> None:
    partition = ComputerPartition(slap_at(FakeTransport({}))._master, started(parameters={"port": 80}))
    connection = partition.getConnectionParameterDict()
    assert connection == {"url": "http://10.0.0.1/"} == json.loads(connection["_"])
    assert partition.getConnectionParameter("url") == "http://10.0.0.1/"
    assert partition.getInstanceParameter("port") == 80
    with pytest.raises(NotFound, match="no parameter nope"):
        partition.getConnectionParameter("nope")


def test_a_partition_tells_of_itself_and_can_be_waited_for() -> None:
    trees = [a_tree(an_instance(), revision=1), a_tree(started(), revision=2)]
    master = FakeTransport({"GET /instances/INST-1/tree": trees, "POST /instances/INST-1/bang": [{}]})
    partition = ComputerPartition(slap_at(master)._master, an_instance(), FakeClock())
    assert partition.getAccessStatus() == "#access placed on COMP-1/slappart0, waiting for the node"
    assert partition.wait().getStatus() == "started"
    assert repr(partition) == "<hello: started on COMP-1/slappart0>"
    partition.bang("again")
    assert master.sent[-1] == {"message": "again"}


def a_computer() -> Computer:
    parts = [PartitionUse(partition=Partition(name=name)) for name in ("slappart0", "slappart1")]
    used = parts[0].model_copy(update={"instance": "INST-1", "reference": "hello"})
    configuration = ComputerConfiguration(partitions=())
    uses = (used, parts[1])
    return Computer(guid="COMP-1", title="one", configuration=configuration, free_partitions=1, partitions=uses)


def test_a_computer_has_software_and_partitions() -> None:
    answers: dict[str, Any] = {
        "GET /computers": [[a_computer()]],
        "GET /computers/COMP-1": [a_computer()],
        "GET /instances/INST-1": [started()],
        "GET /supplies": [[SUPPLY]],
    }
    slap = slap_at(FakeTransport(answers))
    computer = slap.getComputerDict()["one"]
    assert [each.getId() for each in computer.getComputerPartitionList()] == ["slappart0"]
    assert [each.getURI() for each in computer.getSoftwareReleaseList()] == [RELEASE]
    assert slap.registerComputerPartition("COMP-1", "slappart0").getInstanceGuid() == "INST-1"
    with pytest.raises(NotFound, match="Nothing is in slappart1"):
        slap.registerComputerPartition("COMP-1", "slappart1")


@pytest.mark.parametrize(
    ("name", "urls", "said"),
    [
        ("web", ["http://a/web/software.cfg", "http://a/db/software.cfg"], ""),
        ("Web server", ["http://a/web/software.cfg"], ""),
        ("web", ["http://a/web/software.cfg", "http://b/web/software.cfg"], "several releases"),
        ("web", ["http://a/db/software.cfg"], "There is no release web"),
    ],
)
def test_a_product_is_the_only_release_of_that_name(name: str, urls: list[str], said: str) -> None:
    releases = [SoftwareRelease(url=url, title="Web server" if "web" in url else "") for url in urls]
    found = namespace(slap_at(FakeTransport({"GET /releases": [releases]}))._master, Path("/"))["product"]
    if not said:
        assert found.get(name) == "http://a/web/software.cfg"
        return
    with pytest.raises((InvalidInput, NotFound), match=said):
        getattr(found, name)


def test_a_script_finds_the_names_and_its_arguments(shell: Shell) -> None:
    (shell.folder / "script.py").write_text(
        "import sys\n"
        "assert __name__ == '__main__' and __file__.endswith('script.py')\n"
        "print(sys.argv[1:], getInformation('hello').getConnectionParameter('url'), sorted(slap.getOpenOrderDict()))\n"
        "try:\n    request('gone', 'x')\nexcept SlapError as error:\n    sys.exit(error.brief)\n"
    )
    outcome = shell.run(FakeTransport({"GET /instances": [[started()]]}), "console", "script.py", "a", "b")
    assert outcome.status == 1
    assert outcome.out == "['a', 'b'] http://10.0.0.1/ ['hello']\n"
    assert outcome.err == "There is no software release gone.\n"


@pytest.mark.parametrize(("ending", "status"), [("", 0), ("raise SystemExit(3)", 3), ("raise SystemExit", 0)])
def test_a_script_decides_the_exit_status(tmp_path: Path, ending: str, status: int) -> None:
    (tmp_path / "script.py").write_text(ending)
    assert run_script(tmp_path / "script.py", ["script.py"], {}) == status


def test_what_is_no_script_is_named(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("if\n")
    with pytest.raises(UsageError, match=r"script\.py is not a Python script"):
        run_script(tmp_path / "script.py", ["script.py"], {})


def test_the_console_shows_our_errors_in_our_words(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise NotFound("There is no such thing.", "None.", "look elsewhere")

    console = Console({"fail": fail})
    console.push("fail()")
    assert capsys.readouterr().err == "There is no such thing.\n  None.\nNext: look elsewhere\n"
    console.write = lambda data: None  # type: ignore[method-assign]
    assert console.push("1 / 1") is False


def test_a_certificate_needs_its_key(shell: Shell) -> None:
    outcome = shell.run(FakeTransport({}), "console", "-u", "http://other", "-c", "certificate")
    assert outcome.status == 2
    assert "needs its key" in outcome.err
