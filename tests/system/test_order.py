"""The main job, as a user sees it: order a service, get it running, change it, stop it, destroy it."""

import json
import socket
import urllib.request
from pathlib import Path

from tests.system.cloud import HELLOWORLD, SERVICE, Cloud, eventually, release, small_cloud


def test_a_service_is_ordered_talks_changes_stops_and_goes(cloud: Cloud) -> None:
    cloud.supply()
    ordered = cloud.slapos("request", "first", str(HELLOWORLD), "-f", "json").json
    assert b"Hello" in _page(ordered["url"])
    changed = cloud.slapos("request", "first", str(HELLOWORLD), "--parameters", '{"greeting": "Salut"}', "-f", "json")
    assert b"Salut" in _page(changed.json["url"])
    assert "greeting" in cloud.slapos("service", "history", "first").stdout
    cloud.slapos("service", "rollback", "first")
    assert b"Salut" not in _page(ordered["url"])
    partition = cloud.slapos("service", "list", "-f", "json").json[0]["partition"]
    cloud.slapos("service", "stop", "first")
    assert not _answers(ordered["url"])
    cloud.slapos("service", "start", "first")
    assert _answers(ordered["url"])
    cloud.slapos("service", "destroy", "first")
    assert not _answers(ordered["url"])
    assert list((cloud.srv / partition).iterdir()) == []
    assert not (cloud.folder / f"etc/supervisord.conf.d/{partition}.conf").exists()


def test_a_plan_changes_nothing_and_ends_with_the_command_to_apply_it(cloud: Cloud) -> None:
    cloud.supply()
    planned = cloud.slapos("service", "plan", "planned", str(HELLOWORLD), "--parameters", '{"greeting": "Hi"}')
    assert "slapos request planned" in planned.stdout + planned.stderr
    assert not cloud.master().instances("planned")


def test_a_tree_of_depth_five_settles_without_polling(cloud: Cloud) -> None:
    """Five polls, a minute each, would not be in time."""
    cloud.supply()
    words = ("request", "tree", str(HELLOWORLD), "--type", "tree", "--parameters", '{"depth": 5}', "-f", "json")
    cloud.slapos(*words, "--timeout", "45")
    tree = cloud.master().tree(cloud.master().instances("tree")[0].guid)
    assert [each.status.value for each in tree.instances] == ["started"] * 5
    cloud.slapos("service", "destroy", "tree")
    eventually(lambda: cloud.slapos("computer", "list", "-f", "json").json[0]["used"] in (0, "0"))


def test_logs_come_from_the_node(cloud: Cloud) -> None:
    cloud.supply()
    ordered = cloud.slapos("request", "logged", str(HELLOWORLD), "-f", "json").json
    _page(ordered["url"])
    assert "GET" in cloud.slapos("service", "logs", "logged").stdout


def test_nothing_changed_means_no_buildout_by_the_agent_either(cloud: Cloud, tmp_path: Path) -> None:
    url = release(tmp_path / "quiet", SERVICE)
    cloud.supply(url)
    cloud.slapos("request", "quiet", str(url))
    partition = cloud.master().instances("quiet")[0].partition
    log = cloud.folder / "log/partition" / partition / "buildout.log"
    before = log.stat().st_mtime_ns
    cloud.slapos("node", "instance")
    cloud.slapos("request", "quiet", str(url))
    assert log.stat().st_mtime_ns == before


def test_what_the_user_sees_is_json_on_request(cloud: Cloud) -> None:
    for words in (("service", "list"), ("computer", "list"), ("node", "status")):
        assert isinstance(json.loads(cloud.slapos(*words, "-f", "json").stdout), list)


def _page(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read())


def _answers(url: str) -> bool:
    try:
        return bool(_page(url))
    except OSError:
        return False


def test_a_dry_run_says_what_a_pass_would_do_first(cloud: Cloud) -> None:
    cloud.supply()
    cloud.slapos("request", "dry", str(HELLOWORLD))
    partition = cloud.master().instances("dry")[0].partition
    assert f"{partition}  check" in cloud.slapos("node", "instance", "--dry-run").stdout
    assert f"{HELLOWORLD}  keep" in cloud.slapos("node", "software", "--dry-run").stdout


def test_a_cloud_whose_port_was_taken_meanwhile_moves_to_another() -> None:
    with small_cloud(2) as moved:
        moved.supply()
        moved.slapos("request", "mover", str(HELLOWORLD))
        port = int(moved.master_url.rpartition(":")[2])
        moved.down()
        with socket.create_server(("127.0.0.1", port)):
            moved.up(2)
            assert moved.slapos("request", "mover", str(HELLOWORLD), "-f", "json").json["url"]
            assert int(moved.master_url.rpartition(":")[2]) != port
