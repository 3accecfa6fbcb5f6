"""wrapper, service and free-port."""

import json
import os
import socket
import stat
import sys

import pytest

from slap.recipes.common.base import RecipeError
from slap.recipes.service import choose, walk_from
from slap.system.network.ports import Endpoint, is_free
from slap.system.process import Command, Completed, SystemRunner
from tests.unit.recipes.instance import Partition

SHOW = "import json, os, resource, sys; print(json.dumps({expression}))"


def profile(options: str, recipe: str = "service") -> str:
    return (
        f"[buildout]\nparts = web\n[conf]\nrecipe = slap:slapconfiguration\n[web]\nrecipe = slap:{recipe}\n{options}\n"
    )


def started(partition: Partition, path: str = "etc/service/web") -> Completed:
    environment = {"PATH": "/usr/bin:/bin"}
    return SystemRunner().run(Command((str(partition.folder / path),), env=environment, timeout=20))


def shown(partition: Partition, options: str, expression: str) -> object:
    """What a Python that the service starts sees."""
    arguments = f"command = {sys.executable}\narguments =\n  -c\n  {SHOW.format(expression=expression)}\n"
    partition.run(profile(arguments + options))
    return json.loads(started(partition).check().stdout)


@pytest.mark.parametrize(
    ("recipe", "options", "path"),
    [
        ("wrapper", "", "bin/web"),
        ("wrapper", "output = etc/promise/check", "etc/promise/check"),
        ("service", "", "etc/service/web"),
        ("service", "name = shop", "etc/service/shop"),
        ("service", "once = true", "etc/run/web"),
    ],
)
def test_the_executable_is_where_it_belongs_as_long_as_the_part_is_there(
    partition: Partition, recipe: str, options: str, path: str
) -> None:
    text = profile(f"command-line = /bin/echo 'a  b' $HOME\n{options}", recipe)
    partition.run(text)
    assert started(partition, path).check().stdout == "a  b $HOME\n"
    found = (partition.folder / path).stat()
    assert stat.S_IMODE(found.st_mode) == 0o700
    partition.run(text)
    assert (partition.folder / path).stat().st_ino == found.st_ino  # not written again
    partition.run("[buildout]\nparts =\n")
    assert not (partition.folder / path).exists()


@pytest.mark.parametrize(
    "hostile",
    ["x\nLD_PRELOAD=/evil", "'; echo evil; '", "$(echo evil)", "`echo evil`", "a b", "--evil\n--more", "\r", "é\\"],
)
def test_a_value_is_one_word_whatever_is_in_it(partition: Partition, hostile: str) -> None:
    partition.order(parameters={"p": hostile})
    show = SHOW.format(expression="[sys.argv[1:], sorted(os.environ)]")
    value = "${conf:parameter.p}"
    options = f"command-line = {sys.executable} -c '{show}' {value} 'x {value}'\n"
    options += f"environment = A = {value}\nenvironment.B = {value}\n"
    partition.run(profile(options))
    words, names = json.loads(started(partition).check().stdout)
    assert words == [hostile, f"x {hostile}"]
    assert "LD_PRELOAD" not in names
    assert {"A", "B"} <= set(names)


def test_arguments_are_lines_of_the_profile(partition: Partition) -> None:
    partition.order(parameters={"p": "one\n--evil"})
    partition.run(profile("command = /usr/bin/printf\narguments =\n  [%s]\n  ${conf:parameter.p}\n  two words\n"))
    assert started(partition).check().stdout == "[one\n--evil][two words]"


def test_the_program_gets_its_environment_folder_and_limits(partition: Partition) -> None:
    (partition.folder / "var").mkdir()
    options = "environment =\n  A = 1\n  B = b=c\nenvironment.TEXT = x\nworking-directory = var\nnice = 3\n"
    options += "limit-open-files = 64\nlimit-memory = 512\nlimit-processes = 4000\nlimit-core = 0\n"
    limits = "[resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in ('NOFILE', 'AS', 'NPROC', 'CORE')]"
    expression = f"[[os.environ[name] for name in ('A', 'B', 'TEXT')], os.getcwd(), os.nice(0), {limits}]"
    mib = 1 << 20
    assert shown(partition, options, expression) == [
        ["1", "b=c", "x"],
        str(partition.folder / "var"),
        min(19, os.nice(0) + 3),
        [[64, 64], [512 * mib, 512 * mib], [4000, 4000], [0, 0]],
    ]


def test_the_supervised_process_is_the_program(partition: Partition) -> None:
    partition.run(
        profile("command-line = /bin/sh -c 'read line < /proc/self/stat; echo $$'\nnice = 1\nlimit-core = 0\n")
    )
    text = partition.text("etc/service/web")
    assert text.startswith("#!/bin/sh\n")
    assert text.splitlines()[-1].startswith("exec nice -n 1 /bin/sh -c ")


def test_a_service_waits_for_files_but_not_for_ever(partition: Partition) -> None:
    (partition.folder / "there is").touch()
    partition.run(profile("command-line = echo done\nwait-for-files =\n  there is\n  missing\nwait-timeout = 1\n"))
    ended = started(partition)
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr.endswith("missing is still not there, after 1 s\n")
    (partition.folder / "missing").touch()
    assert started(partition).check().stdout == "done\n"


def test_a_changed_file_changes_the_service(partition: Partition) -> None:
    text = profile("command-line = echo done\nhash-files = config\nhash-existing-files = maybe\n")
    with pytest.raises(RecipeError, match=r"web.*cannot hash .*config"):
        partition.run(text)
    contents = []
    for name, content in (("config", "1"), ("config", "2"), ("maybe", "3"), ("maybe", "3")):
        (partition.folder / name).write_text(content)
        partition.run(text)
        contents.append(partition.text("etc/service/web"))
    assert len(set(contents)) == 3
    assert started(partition).check().stdout == "done\n"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("", "command-line or command is needed"),
        ("command-line = a\ncommand = b", "command-line or command is needed"),
        ("command-line = 'a", "cannot be split into words"),
        ("command = a\nenvironment = 1A = b", "'1A'"),
        ("command = a\nenvironment = AB", "NAME = value"),
        ("command = a\nlimit-memory = much", "limit-memory is 'much'"),
        ("command = a\nname = a/b", "name is 'a/b'"),
        ("command = a\noutput = ../a", "output is"),
        ("command = a\noutput = /etc/cron.d/a", "output is"),
        ("command = a\noutput = bin/${conf:parameter.lines}", "output is"),
        ("command = a\0b", "NUL"),
    ],
)
def test_wrong_options_are_told(partition: Partition, options: str, told: str) -> None:
    partition.order(parameters={"lines": "a\nb"})
    with pytest.raises(RecipeError, match=rf"(?s)\[web\].*{told}"):
        partition.run(profile(options))
    assert not (partition.folder / "etc/service").exists()


PORTS = """
[buildout]
parts = http https
[http]
recipe = slap:free-port
{options}
[https]
recipe = slap:free-port
{options}
"""


def ports(partition: Partition, options: str = "") -> list[int]:
    buildout = partition.run(PORTS.format(options=options))
    return [int(buildout[name]["port"]) for name in ("http", "https")]


def test_ports_are_kept_and_never_given_twice(partition: Partition) -> None:
    first = ports(partition)
    assert len(set(first)) == 2
    with socket.create_server(("127.0.0.1", first[0])):
        assert ports(partition) == first  # somebody, most likely the service itself, listens there now
    narrow = f"minimum = {min(first)}\nmaximum = {max(first)}"
    assert ports(partition, narrow) == first
    assert set(ports(partition, "minimum = 9100\nmaximum = 9101")) == {9100, 9101}


def test_a_port_is_chosen_anew_for_another_address(partition: Partition) -> None:
    before = partition.run(PORTS.format(options=""))["http"]
    after = partition.run(PORTS.format(options="address = ::1"))["http"]
    assert (before["address"], after["address"]) == ("127.0.0.1", "::1")


def test_what_listens_or_is_no_address_of_ours_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(Endpoint("127.0.0.1", port))
    assert is_free(Endpoint("127.0.0.1", port))
    assert not is_free(Endpoint("192.0.2.1", port))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("minimum = 5\nmaximum = 4", "empty"),
        ("maximum = 70000", "from 1 to 65535"),
        ("address = 192.0.2.1\nminimum = 20000\nmaximum = 20003", "no free port on 192.0.2.1"),
    ],
)
def test_no_port_is_an_error(partition: Partition, options: str, told: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s)http.*{told}"):
        ports(partition, options)


def test_partitions_start_their_walks_apart() -> None:
    everything = range(10240, 32768)
    starts = [next(iter(walk_from(f"slappart{number}", "http", everything))) for number in range(300)]
    assert min(abs(a - b) for a in starts for b in starts if a != b) >= 64
    assert sorted(walk_from("slappart99", "http", everything)) == list(everything)
    assert next(iter(walk_from("web", "http", everything))) in everything


def test_the_first_free_endpoint_is_chosen() -> None:
    endpoints = [Endpoint("::1", port) for port in (1, 2, 3)]
    assert choose(endpoints, lambda endpoint: endpoint.port > 1) == endpoints[1]
    assert choose(endpoints, lambda endpoint: False) is None


def test_a_service_may_take_its_time_to_end(partition: Partition) -> None:
    partition.run("[buildout]\nparts = a\n[a]\nrecipe = slap:service\ncommand-line = /bin/true\nstop-timeout = 90\n")
    assert partition.text("etc/service/.a.json") == '{"stop_timeout":90}'


@pytest.mark.parametrize("options", ["stop-timeout = 4000", "stop-timeout = -1", "stop-timeout = 9\nonce = true"])
def test_what_no_service_can_have_as_its_time_to_end(partition: Partition, options: str) -> None:
    with pytest.raises(RecipeError, match="stop-timeout"):
        partition.run(f"[buildout]\nparts = a\n[a]\nrecipe = slap:service\ncommand-line = /bin/true\n{options}\n")
