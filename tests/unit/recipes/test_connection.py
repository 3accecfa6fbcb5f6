"""slapconfiguration, request and publish; and that what strangers chose stays a value."""

import json
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slap.model.errors import CannotBePlaced, InvalidParameters, NotReady, SlapError
from slap.model.instance import Answer, Instance, InstanceRequest, Sla
from slap.model.node import ANSWERED_FILE, CONTEXT_FILE, PartitionContext
from slap.model.state import ReportedInstanceState
from slap.recipes.common.base import RecipeError
from slap.recipes.connection import Request, in_url
from tests.unit.recipes.instance import Partition

READ = """
[conf]
recipe = slap:slapconfiguration
default.color = blue
default.greeting = hello

[copy]
greeting = <${conf:parameter.greeting}>
again = ${:greeting}

[buildout]
parts = publish

[publish]
recipe = slap:publish
greeting = ${copy:again}
"""

HOSTILE = [
    "${slap-connection:server-url}",
    "$${slap-connection:server-url}",
    "${conf:json} ${",
    "${no:thing}",
    "${nocolon}",
    "two\nlines",
    "x\n[buildout]\nparts = evil",
    "x\r[evil:print(1)]\rrecipe = slap:wrapper\r",
    "x\r\n[publish]\r\ngreeting = evil",
    " spaces  ",
    "\t\x0b\x0c\x1c\x85\u2028 é \U0001f600",
    "%(__buildout_space__)s",
    "# not ; a comment",
    "",
]


def test_a_partition_knows_itself(partition: Partition) -> None:
    partition.order(
        ipv4=("10.0.0.1", "10.0.0.2"),
        ipv6=("2001:db8::1",),
        parameters={"name": "n", "port": 8080, "on": True, "none": None, "list": ["é"], "no=name": 1, "color": "red"},
    )
    with partition.read(READ) as buildout:
        found = dict(buildout["conf"])
    assert (
        found.items()
        >= {
            "address": "2001:db8::1",
            "host": "[2001:db8::1]",
            "ipv4": "10.0.0.1",
            "ipv6": "2001:db8::1",
            "ipv4-list": "10.0.0.1 10.0.0.2",
            "ipv6-list": "2001:db8::1",
            "parameter.name": "n",
            "parameter.port": "8080",
            "parameter.on": "true",
            "parameter.none": "null",
            "parameter.list": '["\\u00e9"]',
            "parameter.color": "red",
            "parameter.greeting": "hello",
            "slap-software-type": "default",
            "instance-title": "shop",
            "instance-guid": "INST-7",
            "root-instance-title": "mall",
            "root-instance-guid": "INST-1",
            "computer-id": "COMP-1",
            "partition-id": "slappart7",
            "software-path": "/opt/web",
        }.items()
    )
    assert json.loads(found["json"])["no=name"] == 1
    assert not [name for name in found if "=" in name]
    assert "secret" not in "".join(found.values())


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_parameter_comes_through_literally_and_is_kept_apart_from_syntax(partition: Partition, hostile: str) -> None:
    partition.order(parameters={"greeting": hostile, f"name{hostile}": hostile, "dict": {hostile: hostile}})
    partition.run(READ)
    written = (partition.folder / ".installed.cfg").stat()
    partition.run(READ)
    assert json.loads(partition.text(".slapos-connection.json")) == {"greeting": f"<{hostile}>"}
    sections = [line for line in partition.text(".installed.cfg").splitlines() if line.startswith("[")]
    assert set(sections) == {"[buildout]", "[conf]", "[publish]"}
    assert written.st_ino == (partition.folder / ".installed.cfg").stat().st_ino  # nothing was installed again


def test_what_was_installed_is_kept_for_the_user_alone(partition: Partition) -> None:
    partition.run(READ)
    assert stat.S_IMODE((partition.folder / ".installed.cfg").stat().st_mode) == 0o600
    assert stat.S_IMODE((partition.folder / ".slapos-connection.json").stat().st_mode) == 0o600


def test_publishing_joins_options_sections_and_json(partition: Partition) -> None:
    partition.run(
        """
        [buildout]
        parts = publish
        [shared]
        url = http://shared
        user = u
        [publish]
        recipe = slap:publish
        -extends = shared
        -json = {"nodes": [1, 2], "url": "http://json"}
        url = http://own
        """
    )
    found = json.loads(partition.text(".slapos-connection.json"))
    assert found == {"nodes": [1, 2], "url": "http://own", "user": "u"}
    partition.run("[buildout]\nparts =\n")
    assert not (partition.folder / ".slapos-connection.json").exists()


@pytest.mark.parametrize("json_text", ["{", "[1]", "null"])
def test_publishing_refuses_what_is_not_an_object(partition: Partition, json_text: str) -> None:
    with pytest.raises(RecipeError, match=r"(?s)publish.*-json"):
        partition.run(f"[buildout]\nparts = publish\n[publish]\nrecipe = slap:publish\n-json = {json_text}\n")


class FakeMaster:
    """Answers a request with an instance that has published some keys, or with an error."""

    def __init__(self, connection: dict[str, Any] | None = None, error: SlapError | None = None) -> None:
        self.connection = connection or {}
        self.error = error
        self.requests: list[InstanceRequest] = []

    def request(self, request: InstanceRequest) -> Instance:
        self.requests.append(request)
        if self.error:
            raise self.error
        now = datetime(2024, 1, 1, tzinfo=UTC)
        return Instance(
            **request.model_dump(exclude={"state"}), guid="INST-8", requester="INST-7", root="INST-1",
            requested=request.state, reported=ReportedInstanceState.ERROR, message="no disk",
            connection=self.connection, computer="COMP-1", partition="slappart8", revision=1, created_at=now, changed_at=now,
        )  # fmt: skip


def order(partition: Partition, master: FakeMaster, text: str) -> Request:
    with partition.read("[buildout]\nparts = db\n[db]\n" + text) as buildout:
        return Request(buildout, "db", buildout["db"], lambda context: master)  # type: ignore[arg-type, return-value]


def test_a_child_is_ordered_as_its_parent_where_nothing_else_is_said(partition: Partition) -> None:
    partition.order(state="stopped")
    master = FakeMaster()
    order(partition, master, "")
    assert master.requests == [
        InstanceRequest(reference="db", software_release="/releases/web/software.cfg", state="stopped")  # type: ignore[arg-type]
    ]


def test_a_child_is_ordered_as_the_options_say(partition: Partition) -> None:
    master = FakeMaster({"url": "http://db", "port": 5432, "evil\nname": "x"})
    part = order(
        partition,
        master,
        "name = My database\nsoftware-url = /db/software.cfg\nsoftware-type = big\nstate = stopped\nreturn = url\n"
        'config-size = 3\nparameters = {"nested": {"a": [1]}, "size": 2}\n'
        "sla-computer = COMP-2\nsla-network = n\nsla-label-zone = paris\nsla-capabilities = kvm ipv6\n",
    )
    sla = Sla(computer="COMP-2", network="n", labels={"zone": "paris"}, capabilities=frozenset({"kvm", "ipv6"}))
    assert master.requests == [
        InstanceRequest(
            reference="My database", software_release="/db/software.cfg", software_type="big", state="stopped",  # type: ignore[arg-type]
            parameters={"nested": {"a": [1]}, "size": "3"}, sla=sla,
        )
    ]  # fmt: skip
    assert part.install() == part.update() == []
    assert {name: part.options[name] for name in part.options if name.startswith(("connection-", "instance-"))} == {
        "connection-url": "http://db",
        "connection-port": "5432",
        "instance-guid": "INST-8",
        "instance-state": "error",
    }


def test_a_parent_waits_for_the_keys_it_needs(partition: Partition) -> None:
    part = order(partition, FakeMaster({"url": "http://db"}), "return = url user password\n")
    assert (part.options["connection-url"], part.options["connection-user"]) == ("http://db", "")
    for run in (part.install, part.update):
        with pytest.raises(NotReady) as caught:
            run()
        assert str(caught.value).startswith("Waiting for child 'db' to publish user, password.\nIt is error: no disk")


class AnsweringMaster(FakeMaster):
    """Has the child publish while it is waited for."""

    def answer(self, child: str, wait: float) -> Answer:
        assert (child, 0 < wait <= 5) == ("INST-8", True)
        self.connection = {"url": "http://db"}
        return Answer(child=self.request(self.requests[0]), children=3)


@pytest.mark.parametrize(("requests", "is_answered"), [(1, True), (2, False)])
def test_an_only_child_that_answers_soon_is_waited_for(partition: Partition, requests: int, is_answered: bool) -> None:
    context = PartitionContext.model_validate_json(partition.text(CONTEXT_FILE)).model_copy(update={"patience": 5})
    (partition.folder / CONTEXT_FILE).write_text(context.model_dump_json())
    sections = "[buildout]\nparts = db\n[db]\nreturn = url\n[other]\n"
    with partition.read(sections) as buildout:
        options = buildout["db"]
        for name in ("db", "other")[:requests]:
            buildout._raw[name]["recipe"] = "slap:request"
        Request(buildout, "db", options, lambda context: AnsweringMaster())  # type: ignore[arg-type, return-value]
    assert options["connection-url"] == ("http://db" if is_answered else "")
    assert (partition.folder / ANSWERED_FILE).exists() == is_answered


@pytest.mark.parametrize("kind", [CannotBePlaced, InvalidParameters])
def test_an_error_of_a_child_names_it_and_takes_nothing_away(partition: Partition, kind: type[SlapError]) -> None:
    master = FakeMaster(error=kind("No.", "because", "do this"))
    with pytest.raises(kind) as caught:
        order(partition, master, "")
    assert str(caught.value) == "Child 'db': No.\nbecause\ndo this"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("state = runing", "state"),
        ("name = a/b", "reference"),
        ("parameters = [", "parameters"),
        ("parameters = 3", "parameters"),
    ],
)
def test_a_wrong_order_is_never_sent(partition: Partition, options: str, told: str) -> None:
    master = FakeMaster()
    with pytest.raises(RecipeError, match=f"(?s)db.*{told}"):
        order(partition, master, options)
    assert master.requests == []


def test_addresses_are_preferred_and_written_as_in_urls(tmp_path: Path) -> None:
    assert (in_url("::1"), in_url("127.0.0.1")) == ("[::1]", "127.0.0.1")
    with Partition(tmp_path, ipv4=()).read(READ) as buildout:
        assert buildout["conf"]["address"] == ""


SECTIONS = """
[conf]
recipe = slap:slapconfiguration

[buildout]
parts = sections

[sections]
recipe = slap:profile
input = sections.cfg
default.count = 1
"""

TEMPLATE = """\
{% for number in range(parameter.count) %}
[run-{{ parameter.name }}-{{ number }}]
recipe = slap:service
command = /bin/echo
arguments =
  {{ number }}
  ${conf:parameter.name}
{% endfor %}
"""


def services(partition: Partition) -> list[str]:
    partition.run(SECTIONS)
    return sorted(path.name for path in partition.folder.glob("etc/service/*"))


def test_a_template_makes_as_many_sections_as_are_ordered(partition: Partition) -> None:
    (partition.folder / "sections.cfg").write_text(TEMPLATE)
    for count, names in ((3, ["run-a-0", "run-a-1", "run-a-2"]), (1, ["run-a-0"])):
        partition.order(parameters={"name": "a", "count": count})
        assert services(partition) == names
    partition.order(parameters={"name": "b"})
    assert services(partition) == ["run-b-0"]


@pytest.mark.parametrize(
    "hostile", ["a\n[evil]", "a:print(1)", "a]\rx", "${conf:json}", "a] ; [", "a#", "\u2028[x]", "\x85[x]", {"a": "]"}]
)
def test_a_parameter_makes_no_section_of_its_own(partition: Partition, hostile: object) -> None:
    (partition.folder / "sections.cfg").write_text(TEMPLATE)
    partition.order(parameters={"name": hostile})
    with pytest.raises(RecipeError, match=r"sections"):
        services(partition)
