"""slapconfiguration, profile, publish and publish-shared; and that what strangers chose stays a value."""

import json
import stat
from pathlib import Path

import pytest

from slap.recipes.common.base import RecipeError
from slap.recipes.connection import in_url
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


def page(guid: str, state: str = "started", **parameters: object) -> dict[str, object]:
    common = {"root_reference": "mall", "software_type": "default", "state": state, "revision": 3}
    return {"guid": guid, "reference": f"page {guid}", "parameters": parameters, **common}


def test_a_partition_knows_whom_it_serves(partition: Partition) -> None:
    partition.order(shared=[page("INST-1", color="${a:b}"), page("INST-2", "stopped")])
    with partition.read(READ) as buildout:
        found = dict(buildout["conf"])
    assert found["shared-count"] == "1"
    expected = {"guid": "INST-1", "reference": "page INST-1", "parameters": {"color": "${a:b}"}}
    assert json.loads(found["shared-list"]) == [{**expected, "root_reference": "mall", "software_type": "default"}]
    assert [each["guid"] for each in json.loads(found["shared-stopped-list"])] == ["INST-2"]


def test_a_template_makes_a_section_for_each_that_is_served(partition: Partition) -> None:
    (partition.folder / "sections.cfg").write_text(
        "{% for each in shared %}\n[{{ each.guid }}]\nrecipe = slap:service\ncommand = /bin/echo\n{% endfor %}\n"
    )
    partition.order(shared=[page("INST-1"), page("INST-2"), page("INST-3", "stopped")])
    assert services(partition) == ["INST-1", "INST-2"]


PUBLISH = """
[buildout]
parts = {parts}
[common]
host = example.org
[all]
recipe = slap:publish-shared
-extends = common
url = http://example.org/{{guid}}?name={{reference}}
[some]
recipe = slap:publish-shared
-shared-guid = INST-2
note = stopped {{guid}}
[json]
recipe = slap:publish-shared
-shared-guid = INST-1
-json = {json}
"""


def published(partition: Partition, parts: str = "all some json", text: str = "{}") -> dict[str, dict[str, object]]:
    partition.run(PUBLISH.format(parts=parts, json=text))
    found = [json.loads(path.read_text()) for path in sorted(partition.folder.glob(".slapos-shared/*"))]
    return {guid: connection for each in found for guid, connection in each.items()}


def test_connections_are_published_for_all_for_one_and_by_guid(partition: Partition) -> None:
    partition.order(shared=[page("INST-1"), page("INST-2", "stopped")])
    assert published(partition, "all some") == {
        "INST-1": {"host": "example.org", "url": "http://example.org/INST-1?name=page INST-1"},
        "INST-2": {"note": "stopped INST-2"},
    }
    assert published(partition, "json", '{"INST-1": {"port": 80}}') == {"INST-1": {"port": 80}}
    assert published(partition, "") == {}


@pytest.mark.parametrize("text", ['{"INST-9": {}}', '{"INST-1": 3}', "[]"])
def test_nothing_is_published_for_whom_nobody_knows(partition: Partition, text: str) -> None:
    partition.order(shared=[page("INST-1")])
    with pytest.raises(RecipeError, match=r"(?s)json.*-json"):
        published(partition, "json", text)
    partition.order(shared=[])
    with pytest.raises(RecipeError, match=r"(?s)some.*no shared instance that is served here"):
        published(partition, "some")
