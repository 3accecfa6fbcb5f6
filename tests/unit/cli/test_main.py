"""The command as a whole, against a master that answers from a table: what is printed where, and the exit status."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from slap.cli.commands import COMMON, GROUPS, PLUMBING, TOPICS, close_commands
from slap.cli.order.follow import SILENCE
from slap.model.computer import Computer, ComputerConfiguration
from slap.model.errors import CannotBePlaced, InvalidParameters, NotFound, Unreachable
from slap.model.instance import FieldChange, HistoryEntry, InstanceRequest, Placement, Plan
from slap.model.software import Supply
from slap.model.state import SupplyState
from tests.unit.cli.fakes import START, FakeTransport, Shell, a_tree, an_instance, started

TREE = "GET /instances/INST-1/tree"
REQUEST = ("request", "hello", "r/hello", "--parameters", "port=80")
AT_WORK = an_instance(reported="instantiating", changed_at=START)
SUPPLY = Supply(url="/r/hello/software.cfg", computer="COMP-1", requested=SupplyState.AVAILABLE, changed_at=START)


def ordering(*trees: Any, accepted: Any = None, **more: Any) -> FakeTransport:
    """A master that takes a new order and then shows these trees."""
    answers: dict[str, Sequence[Any]] = {
        "GET /instances": [[]],
        "POST /instances": [accepted or an_instance()],
        TREE: trees,
    }
    return FakeTransport(answers | more)


def test_a_request_shows_its_phases_on_stderr_and_the_connection_on_stdout(shell: Shell) -> None:
    master = ordering(a_tree(an_instance()), a_tree(AT_WORK, revision=2), a_tree(started(), revision=3))
    outcome = shell.run(master, *REQUEST, "-f", "json")
    assert (outcome.status, json.loads(outcome.out)) == (0, {"url": "http://10.0.0.1/"})
    assert [line.split("  ")[-1] for line in outcome.err.splitlines()] == [
        "hello is placed on COMP-1, in slappart0.",
        "hello: placed on COMP-1/slappart0, waiting for the node",
        "hello: instantiating",
        "hello: started on COMP-1/slappart0",
        "hello is started after 0.0 s.",
    ]
    order = InstanceRequest.model_validate(master.sent[1])
    assert order.software_release == str(shell.folder / "r/hello/software.cfg")
    assert order.parameters == {"port": 80}


def test_what_is_already_so_is_said_at_once(shell: Shell) -> None:
    known: dict[str, Sequence[Any]] = {
        "GET /instances": [[started()]],
        "POST /instances": [started()],
        TREE: [a_tree(started())],
    }
    outcome = shell.run(FakeTransport(known), *REQUEST)
    assert outcome.status == 0
    assert outcome.err.startswith("hello is already requested like this.")
    assert outcome.out == "url  http://10.0.0.1/\n"


def test_without_waiting_an_unfinished_order_is_not_ready(shell: Shell) -> None:
    outcome = shell.run(ordering(a_tree(AT_WORK)), *REQUEST, "--no-wait")
    assert outcome.status == 3
    assert "not yet started" in outcome.err
    assert "Next: slapos service info hello" in outcome.err


def test_a_failure_ends_the_waiting_with_its_words(shell: Shell) -> None:
    broken = an_instance(reported="error", message="Service web ended.\nNo module x", changed_at=START)
    outcome = shell.run(ordering(a_tree(AT_WORK), a_tree(broken, revision=2)), *REQUEST)
    assert outcome.status == 1
    assert "No module x" in outcome.err
    assert "Next: slapos service logs hello" in outcome.err


def test_a_failed_build_shows_the_end_of_its_log(shell: Shell) -> None:
    broken = a_tree(an_instance(software="error", software_message="make failed"))
    log = SUPPLY.model_copy(update={"log": "gcc: not found"})
    outcome = shell.run(ordering(broken, **{"GET /supplies": [[log]]}), *REQUEST)
    assert outcome.status == 1
    assert "make failed\n  gcc: not found" in outcome.err
    assert "slapos supply /r/hello/software.cfg COMP-1" in outcome.err


def test_time_runs_out_saying_what_is_missing(shell: Shell) -> None:
    computer = Computer(
        guid="COMP-1", title="one", configuration=ComputerConfiguration(partitions=()), free_partitions=0
    )
    silent = computer.model_copy(update={"seen_at": START - timedelta(seconds=SILENCE * 10)})
    away = [Unreachable("No answer.", "refused")] * 6
    master = ordering(a_tree(AT_WORK), *away, a_tree(AT_WORK), **{"GET /computers/COMP-1": [silent]})
    outcome = shell.run(master, *REQUEST, "--timeout", "10")
    assert outcome.status == 1
    assert "No answer. refused Trying again in 1.0 s." in outcome.err
    assert "hello is not started after 10 s" in outcome.err
    assert "hello: instantiating" in outcome.err


def test_a_silent_node_is_mentioned_once(shell: Shell) -> None:
    computer = Computer(
        guid="COMP-1",
        title="one",
        configuration=ComputerConfiguration(partitions=()),
        free_partitions=0,
        seen_at=START - timedelta(minutes=10),
    )
    waiting = [a_tree(an_instance())] * 4
    master = ordering(*waiting, a_tree(started(), revision=2), **{"GET /computers/COMP-1": [computer]})
    outcome = shell.run(master, *REQUEST)
    assert outcome.status == 0
    assert outcome.err.count("last heard 10 min ago. Does its agent run?") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(CannotBePlaced("Full."), 4), (InvalidParameters("No.", "port: too low"), 1), (NotFound("?"), 1)],
)
def test_the_error_of_the_master_decides_the_exit_status(shell: Shell, error: Any, status: int) -> None:
    outcome = shell.run(FakeTransport({"GET /instances": [[]], "POST /instances": [error]}), *REQUEST)
    assert (outcome.status, outcome.out) == (status, "")
    assert outcome.err == f"{error.brief}\n" + (f"  {error.details}\n" if error.details else "")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("requst", "x"), 2, "Did you mean:\n  slapos request"),
        (("service",), 2, "slapos service rollback"),
        (("request", "a"), 2, "required: URL"),
        (("request", "a", "r/hello", "--state", "startd"), 2, "did you mean 'started'?"),
        (("request", "a", "r/hello", "--parameters", "x"), 2, "not of the form key=value"),
        (("request", "a/b", "r/hello"), 2, "'a/b' cannot be ordered"),
        (("request", "a", "r/none"), 1, "There is no software release r/none"),
        (("request", "a", "r/hello", "--parameters-file", "gone.json"), 1, "gone.json cannot be read"),
        (("service", "list", "--cfg", "gone.cfg"), 1, "gone.cfg cannot be read"),
        (("supply", "r/none", "COMP-1"), 1, "There is no software release r/none"),
        (("proxy", "start", "--port", "99999"), 2, "not a port"),
        (("configure", "client", "master:5000"), 2, "not the URL of a master"),
    ],
)
def test_wrong_words_are_answered_without_asking_the_master(
    shell: Shell, words: tuple[str, ...], status: int, said: str
) -> None:
    master = FakeTransport({})
    outcome = shell.run(master, *words)
    assert outcome.status == status
    assert said in outcome.err
    assert master.asked == []


def test_an_unknown_column_is_an_error_of_usage(shell: Shell) -> None:
    outcome = shell.run(FakeTransport({"GET /instances": [[started()]]}), "service", "list", "-c", "nmae")
    assert outcome.status == 2
    assert "There are: name, status" in outcome.err


def test_a_list_is_a_table_for_people_and_data_for_machines(shell: Shell) -> None:
    master = FakeTransport({"GET /instances": [[started(created_at=START - timedelta(hours=3))]]})
    assert shell.run(master, "service", "list").out.splitlines() == [
        "NAME   STATUS   COMPUTER  PARTITION  SOFTWARE  AGE  MESSAGE",
        "hello  started  COMP-1    slappart0  hello     3 h",
    ]
    (row,) = json.loads(shell.run(master, "service", "list", "-f", "json").out)
    assert (row["status"], row["software"]) == ("started", "/r/hello/software.cfg")


def test_a_misspelt_service_is_answered_with_the_one_that_was_meant(shell: Shell) -> None:
    missing: dict[str, Sequence[Any]] = {"GET /instances": [[], [started()]], "GET /instances/helo": [NotFound("?")]}
    outcome = shell.run(FakeTransport(missing), "service", "info", "helo")
    assert outcome.status == 1
    assert "Did you mean hello?" in outcome.err


def plan(**changes: Any) -> Plan:
    known: dict[str, Any] = {
        "reference": "hello",
        "action": "update",
        "changes": (FieldChange(field="parameters.port", before="80", after="81"),),
        "computer": "COMP-1",
        "partition": "slappart0",
    }
    return Plan(**(known | changes))


def test_a_plan_shows_the_difference_and_ends_with_the_command_that_carries_it_out(shell: Shell) -> None:
    master = FakeTransport({"POST /plans": [plan()]})
    outcome = shell.run(master, "service", "plan", "hello", "r/hello", "--parameters", "port=81", "motd=it's me")
    assert outcome.status == 0
    assert "- parameters.port: 80\n  + parameters.port: 81" in outcome.out
    assert outcome.out.endswith("slapos request hello r/hello --parameters port=81 'motd=it'\"'\"'s me'\n")


def test_a_plan_that_fits_nowhere_says_why_candidate_by_candidate(shell: Shell) -> None:
    refused = Placement(computer="COMP-1", title="one", free_partitions=0, refusals=("is full",))
    nowhere = plan(action="create", changes=(), computer="", partition="", placements=(refused,))
    outcome = shell.run(FakeTransport({"POST /plans": [nowhere]}), "service", "plan", "hello", "r/hello")
    assert outcome.status == 4
    assert "COMP-1  no: is full" in outcome.out
    assert "slapos request" not in outcome.out


def history() -> list[HistoryEntry]:
    def entry(number: int) -> HistoryEntry:
        request = InstanceRequest(reference="hello", software_release="/r", parameters={"port": number})
        return HistoryEntry(number=number, at=START, by="user:me", request=request)

    return [entry(1), entry(2), entry(3)]


@pytest.mark.parametrize(("words", "port"), [((), 2), (("1",), 1)])
def test_rollback_requests_what_was_requested_before(shell: Shell, words: tuple[str, ...], port: int) -> None:
    accepted = started(parameters={"port": port})
    master = FakeTransport(
        {
            "GET /instances": [[started()]],
            "GET /instances/INST-1/history": [history()],
            "POST /instances": [accepted],
            TREE: [a_tree(started()), a_tree(accepted.model_copy(update={"changed_at": START + timedelta(seconds=1)}))],
        }
    )
    assert shell.run(master, "service", "rollback", "hello", *words).status == 0
    assert [sent["parameters"] for sent in master.sent if sent] == [{"port": port}]


def test_stopping_keeps_all_but_the_state(shell: Shell) -> None:
    running = started(parameters={"port": 80}, software_type="big")
    stopped = started(parameters={"port": 80}, software_type="big", requested="stopped", reported="stopped")
    master = FakeTransport(
        {
            "GET /instances": [[running]],
            "GET /instances/INST-1/history": [history()],
            "POST /instances": [stopped],
            TREE: [a_tree(stopped)],
        }
    )
    outcome = shell.run(master, "service", "stop", "hello")
    assert (outcome.status, outcome.out) == (0, "")
    (sent,) = [sent for sent in master.sent if sent]
    assert (sent["state"], sent["parameters"], sent["software_type"]) == ("stopped", {"port": 80}, "big")


@pytest.mark.parametrize(
    ("later", "status", "said"),
    [
        ({"reported": "available"}, 0, "is available after"),
        ({"reported": "error", "message": "make failed", "log": "gcc: not found"}, 1, "gcc: not found"),
    ],
)
def test_supply_waits_for_the_build(shell: Shell, later: dict[str, str], status: int, said: str) -> None:
    answer = Supply.model_validate(SUPPLY.model_dump() | later | {"changed_at": START + timedelta(seconds=1)})
    building = Supply.model_validate(SUPPLY.model_dump() | {"reported": "building", "message": "part 1"})
    master = FakeTransport({"PUT /supplies": [SUPPLY], "GET /supplies": [[building], [answer]]})
    outcome = shell.run(master, "supply", "r/hello", "COMP-1", "--wait")
    assert outcome.status == status
    assert "building: part 1" in outcome.err
    assert said in outcome.err


@pytest.mark.parametrize("words", [(), ("help",), ("--help",)])
def test_the_first_page_fits_one_screen_and_names_no_plumbing(shell: Shell, words: tuple[str, ...]) -> None:
    outcome = shell.run(FakeTransport({}), *words)
    lines = outcome.out.splitlines()
    assert outcome.status == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert [name for name in COMMON if name not in outcome.out] == []
    assert [entry.name for entry in GROUPS[PLUMBING] if entry.name in outcome.out] == []


def test_the_first_page_leads_to_every_command(shell: Shell) -> None:
    page = shell.run(FakeTransport({}), "help").out
    topics = {entry.name.split()[0] for group in GROUPS.values() for entry in group if " " in entry.name}
    assert topics - set(TOPICS) == set()
    assert [topic for topic in TOPICS if topic not in page] == []
    every = shell.run(FakeTransport({}), "help", "--all").out
    assert [entry.name for group in GROUPS.values() for entry in group if f"  {entry.name} " not in every] == []
    assert max(map(len, every.splitlines())) <= 80


def test_the_help_of_a_topic_lists_its_commands(shell: Shell) -> None:
    outcome = shell.run(FakeTransport({}), "help", "computer")
    assert [line.split("  ")[1] for line in outcome.out.splitlines()] == [
        "computer list",
        "computer info",
        "computer token",
    ]
    assert shell.run(FakeTransport({}), "help", "vm", "restore").out.startswith("usage: slapos vm restore ")
    assert shell.run(FakeTransport({}), "help", "xyzzy").status == 2


@pytest.mark.parametrize("entry", [entry for group in GROUPS.values() for entry in group], ids=lambda entry: entry.name)
def test_every_command_loads_and_has_help(shell: Shell, entry: Any) -> None:
    assert shell.run(FakeTransport({}), *entry.name.split(), "--help").status == 0


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["computer"], ["computer list", "computer info", "computer token"]),
        (["suply", "x"], ["supply"]),
        (["xyzzy"], []),
    ],
)
def test_close_commands(words: list[str], meant: list[str]) -> None:
    assert close_commands(words)[:3] == meant


def test_node_alone_is_its_status_as_in_slapos(shell: Shell) -> None:
    (shell.folder / "var/standalone/etc").mkdir(parents=True)
    (shell.folder / "var/standalone/etc/slapos.cfg").write_text("[slapos")
    assert "var/standalone/etc/slapos.cfg" in shell.run(FakeTransport({}), "node").err


def test_logs_are_shown_by_file_and_followed_until_interrupted(shell: Shell) -> None:
    looks = [{"text": f"==> web.log <==\n{lines}\n"} for lines in ("a\nb", "a\nb", "a\nb\nc")]
    master = FakeTransport(
        {"GET /instances": [[started()]], "GET /instances/INST-1/logs": [*looks, KeyboardInterrupt()]}
    )
    outcome = shell.run(master, "service", "logs", "hello", "-n", "1", "--follow")
    assert outcome.status == 130
    assert outcome.out == "==> web.log <==\nb\n==> web.log <==\nc\n"


def test_an_interrupted_wait_says_that_the_order_goes_on(shell: Shell) -> None:
    outcome = shell.run(ordering(a_tree(AT_WORK), KeyboardInterrupt()), *REQUEST)
    assert outcome.status == 130
    assert "the order goes on. See how: slapos service info hello" in outcome.err
