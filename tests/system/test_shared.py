"""Shared instances and orphans, from outside: one partition serves users and another tree, while its agent is killed."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slap.model.instance import Instance
from tests.system.chaos import Processes
from tests.system.cloud import Cloud, eventually, small_cloud

SOFTWARE = """\
[buildout]
parts = host user plain
[template]
recipe = slap:template
[host]
<= template
output = ${buildout:directory}/instance.cfg
inline =
    [buildout]
    parts = service publish
    [conf]
    recipe = slap:slapconfiguration
    [service]
    recipe = slap:service
    command-line = /bin/sleep 100000
    [sections]
    recipe = slap:profile
    input = FOLDER/sections.cfg
    [publish]
    recipe = slap:publish
    count = $${conf:shared-count}
    sections = $${sections:recipe}
[user]
<= template
output = ${buildout:directory}/instance-user.cfg
inline =
    [buildout]
    parts = page publish
    [conf]
    recipe = slap:slapconfiguration
    [page]
    recipe = slap:request
    shared = true
    config-color = $${conf:parameter.color}
    return = color
    [publish]
    recipe = slap:publish
    color = $${page:connection-color}
[plain]
<= template
output = ${buildout:directory}/instance-plain.cfg
inline =
    [buildout]
    parts = publish
    [publish]
    recipe = slap:publish
    color = none
"""
SECTIONS = """\
{% for each in shared %}
[{{ each.guid }}]
recipe = slap:publish-shared
-shared-guid = {{ each.guid }}
color = {{ each.parameters.color }}
{% endfor %}
"""
SCHEMA = (
    """{"type": "object", "properties": {"color": {"type": "string", "pattern": "^[a-z]+$"}}, "required": ["color"]}"""
)
TYPES = """{"name": "Pages", "software-type": {
  "default": {"title": "Host", "request": "any.json"}, "user": {"title": "User", "request": "any.json"},
  "plain": {"title": "Plain", "request": "any.json"},
  "default-slave": {"title": "Page", "software-type": "default", "shared": true, "request": "page.json"}}}"""


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    with small_cloud() as cloud:
        folder = cloud.folder / "pages"
        folder.mkdir()
        text = SOFTWARE.replace("FOLDER", str(folder))
        for name, content in (("software.cfg", text), ("sections.cfg", SECTIONS), ("software.cfg.json", TYPES)):
            (folder / name).write_text(content)
        (folder / "any.json").write_text('{"type": "object"}')
        (folder / "page.json").write_text(SCHEMA)
        cloud.supply(_release(cloud))
        cloud.slapos("request", "host", str(_release(cloud)))
        yield cloud


def _release(cloud: Cloud) -> Path:
    return cloud.folder / "pages/software.cfg"


def _order(cloud: Cloud, name: str, *words: str, check: bool = True) -> Any:
    done = cloud.slapos("request", name, str(_release(cloud)), *words, "-f", "json", check=check)
    return done.json if done.status == 0 else done


def _page(cloud: Cloud, name: str, color: str, *words: str) -> Any:
    return _order(cloud, name, "--slave", *words, "--parameters", f"color={color}")


def _named(cloud: Cloud, name: str) -> Instance | None:
    return next(iter(cloud.master().instances(name)), None)


def _count(cloud: Cloud) -> str:
    host = _named(cloud, "host")
    return str(host.connection.get("count")) if host else ""


def _pids(cloud: Cloud) -> list[int]:
    host = _named(cloud, "host")
    assert host
    return [process.pid for process in cloud.processes(host.partition)]


def _kill_agent(cloud: Cloud) -> None:
    os.kill(eventually(Processes(cloud.folder).agent), signal.SIGKILL)


def test_one_partition_serves_many(cloud: Cloud) -> None:
    before = _pids(cloud)
    assert [_page(cloud, f"page-{color}", color) for color in ("red", "green")] == [
        {"color": "red"},
        {"color": "green"},
    ]
    assert _order(cloud, "user", "--type", "user", "--parameters", "color=blue") == {"color": "blue"}
    eventually(lambda: _count(cloud) == "3")
    assert _page(cloud, "page-red", "crimson") == {"color": "crimson"}
    assert _order(cloud, "user", "--type", "user", "--parameters", "color=navy") == {"color": "navy"}
    assert before == _pids(cloud)
    info = cloud.slapos("service", "info", "page-red").stdout
    assert "served by" in info
    assert "3 shared instances" in cloud.slapos("service", "info", "host").stdout
    assert "page (shared)" in cloud.slapos("service", "info", "user").stdout


def test_what_the_schema_of_shared_instances_refuses_is_refused(cloud: Cloud) -> None:
    refused = _order(cloud, "page-wrong", "--slave", "--parameters", "color=2", check=False)
    assert (refused.status, "color" in refused.stderr) == (1, True)
    assert _named(cloud, "page-wrong") is None


def test_a_killed_agent_loses_no_change(cloud: Cloud) -> None:
    _page(cloud, "page-late", "gold")
    _kill_agent(cloud)
    assert _page(cloud, "page-late", "silver") == {"color": "silver"}
    _kill_agent(cloud)
    cloud.slapos("service", "destroy", "page-late")
    assert _named(cloud, "page-late") is None
    eventually(lambda: _count(cloud) == "3")


def test_stopped_it_is_not_served_and_started_it_is_again(cloud: Cloud) -> None:
    cloud.slapos("service", "stop", "page-green")
    eventually(lambda: _count(cloud) == "2")
    cloud.slapos("service", "start", "page-green")
    eventually(lambda: _count(cloud) == "3")


def test_a_renamed_instance_is_found_by_its_new_name(cloud: Cloud) -> None:
    page = _named(cloud, "page-green")
    assert page
    cloud.master().rename_instance(page.guid, "page-lime")
    assert _page(cloud, "page-lime", "green") == {"color": "green"}
    assert _named(cloud, "page-green") is None
    assert "reference" in cloud.slapos("service", "history", "page-lime").stdout


def test_an_orphan_is_destroyed_once_its_parent_was_processed_without_it(cloud: Cloud) -> None:
    user = _named(cloud, "user")
    assert user
    assert len(cloud.master().tree(user.guid).instances) == 2
    _kill_agent(cloud)
    assert _order(cloud, "user", "--type", "plain") == {"color": "none"}
    eventually(lambda: len(cloud.master().tree(user.guid).instances) == 1)
    eventually(lambda: _count(cloud) == "2")
    assert _order(cloud, "user", "--type", "user", "--parameters", "color=pink") == {"color": "pink"}


def test_it_outlives_its_host_in_error_and_is_served_by_the_next_when_requested_again(cloud: Cloud) -> None:
    cloud.slapos("service", "destroy", "host")
    red = eventually(lambda: (found := _named(cloud, "page-red")) and found.status == "error" and found)
    assert isinstance(red, Instance)
    assert "host, which served it, is destroyed" in red.message
    refused = _order(cloud, "page-red", "--slave", "--parameters", "color=red", "--no-wait", check=False)
    assert (refused.status, "No instance can serve page-red" in refused.stderr) == (4, True)
    cloud.slapos("request", "host", str(_release(cloud)))
    assert _page(cloud, "page-red", "red") == {"color": "red"}
    cloud.slapos("service", "destroy", "page-lime")
    cloud.slapos("service", "destroy", "user")
    cloud.slapos("service", "destroy", "page-red")
    eventually(lambda: [each.reference for each in cloud.master().instances()] == ["host"])
    eventually(lambda: _count(cloud) == "0")
