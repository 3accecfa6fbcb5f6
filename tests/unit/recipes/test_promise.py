"""check-port, check-url and check-command."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from slap.model.check import Check, CommandCheck, NetworkCheck
from slap.recipes.common.base import RecipeError
from tests.unit.recipes.instance import Partition

CHECK: TypeAdapter[Check] = TypeAdapter(Check)
PLUGIN = "etc/plugin/alive.json"


def run(partition: Partition, recipe: str, options: str) -> Check:
    partition.run(f"[buildout]\nparts = alive\n[alive]\nrecipe = slap:{recipe}\n{options}\n")
    return CHECK.validate_json(partition.text(PLUGIN))


def url(**fields: Any) -> NetworkCheck:
    return NetworkCheck.model_validate({"check": "url", "host": "127.0.0.1", "port": 80, **fields})


@pytest.mark.parametrize(
    ("recipe", "options", "check"),
    [
        ("check-port", "port = 80", NetworkCheck(check="port", host="2001:db8::1", port=80)),
        (
            "check-port",
            "address = 127.0.0.1\nport = 1\ntimeout = 0.5\nfrequency = 10",
            NetworkCheck(check="port", host="127.0.0.1", port=1, timeout=0.5, frequency=10),
        ),
        (
            "check-port",
            "port = 22\nexpect = SSH-",
            NetworkCheck(check="port", host="2001:db8::1", port=22, expect="SSH-"),
        ),
        (
            "check-port",
            "port = 6379\nsend = PING\nexpect = PONG",
            NetworkCheck(check="port", host="2001:db8::1", port=6379, send="PING", expect="PONG"),
        ),
        ("check-url", "url = http://127.0.0.1", url()),
        ("check-url", "url = https://127.0.0.1/a?b=c#d", url(tls=True, port=443, path="/a?b=c")),
        ("check-url", "url = http://[2001:db8::1]:8/\nexpect = ok", url(host="2001:db8::1", port=8, expect="ok")),
        ("check-command", "command-line = test -e 'a b'", CommandCheck(check="command", command=("test", "-e", "a b"))),
        (
            "check-command",
            "command = /bin/a\narguments =\n b c\n d\nenvironment.E = 1\ntimeout = 90\nfrequency = 3600",
            CommandCheck(
                check="command", command=("/bin/a", "b c", "d"), environment={"E": "1"}, timeout=90, frequency=3600
            ),
        ),
    ],
)
def test_a_check_is_left_for_the_node(partition: Partition, recipe: str, options: str, check: Check) -> None:
    partition.order(ipv6=("2001:db8::1",))
    assert run(partition, recipe, options) == check
    partition.run("[buildout]\nparts =\n")
    assert not (partition.folder / PLUGIN).exists()


@pytest.mark.parametrize(
    ("recipe", "options", "told"),
    [
        (
            "check-port",
            "port = 80\naddress = 192.0.2.1",
            r"192\.0\.2\.1.*not an address of this partition.*check-command",
        ),
        ("check-url", "url = http://localhost:80/", "localhost.*check-command"),
        ("check-url", "url = http://127.0.0.1@192.0.2.1/", "write an http"),
        ("check-url", "url = ftp://127.0.0.1/", "write an http"),
        ("check-url", "url = http://127.0.0.1:99999/", "write an http"),
        ("check-url", "", "url is missing"),
        ("check-port", "port = 0", "port is wrong"),
        ("check-port", "port = 80\ntimeout = 0", "timeout is wrong"),
        ("check-port", "port = 80\nfrequency = often", "frequency is 'often'"),
        ("check-command", "timeout = 3", "command is needed"),
    ],
)
def test_a_wrong_check_is_told(partition: Partition, recipe: str, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)\[alive\].*{told}"):
        run(partition, recipe, options)
    assert not Path(partition.folder, PLUGIN).exists()
