"""What people get wrong: each ends in a clear message that names the culprit and the next step, and hurts nobody else."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.system.cloud import SERVICE, release, small_cloud

FAILED, USAGE, CANNOT_BE_PLACED = 1, 2, 4


@dataclass(frozen=True)
class Row:
    """What somebody types, one command a line: the last one fails with this status, and its message has these words.

    @NAME is the profile of a release of this test, COMPUTER the name of the computer.
    """

    what: str
    commands: str
    status: int
    words: tuple[str, ...]


SUPPLIED = "supply @{0} COMPUTER --wait\nrequest {0} @{0} --timeout 30"

TABLE = (
    Row(
        "unknown release on this machine",
        "supply /no/where/software.cfg COMPUTER",
        FAILED,
        ("/no/where/software.cfg", "is not a file"),
    ),
    Row(
        "unknown release behind a URL",
        "supply http://127.0.0.1:9/a/software.cfg COMPUTER",
        FAILED,
        ("http://127.0.0.1:9/a/software.cfg",),
    ),
    Row("no URL at all", "supply gopher://a/software.cfg COMPUTER", FAILED, ("gopher",)),
    Row("release that was not supplied", "request a @unsupplied", FAILED, ("unsupplied/software.cfg", "slapos supply")),
    Row("misspelt release", "request a @bystande", FAILED, ("is not a file",)),
    Row("unknown computer to supply", "supply @bystander COMPUTE", FAILED, ("COMPUTE", "slapos computer list")),
    Row(
        "unknown computer to place on",
        "request a @bystander --computer NOWHERE",
        FAILED,
        ("NOWHERE", "slapos computer list"),
    ),
    Row("misspelt state", "request a @bystander --state runing", USAGE, ("runing", "started")),
    Row("misspelt command", "requst a @bystander", USAGE, ("requst", "request")),
    Row("misspelt option", "request a @bystander --paramters a=1", USAGE, ("--paramters",)),
    Row("no name", "request", USAGE, ("NAME",)),
    Row("impossible name", "request a/b @bystander", USAGE, ("a/b",)),
    Row("unknown service", "service info nobody", FAILED, ("nobody",)),
    Row("unknown service stop", "service stop bystandr", FAILED, ("bystandr", "bystander")),
    Row("unknown node control", "node start slappart77", FAILED, ("slappart77",)),
    Row("unknown software type", "request a @picky --type larg", FAILED, ("larg", "default")),
    Row(
        "parameters",
        "supply @picky COMPUTER --wait\nrequest a @picky --parameters port=0 colour=7 extra=1",
        FAILED,
        ("port", "colour", "extra"),
    ),
    Row("missing parameters", "request a @picky", FAILED, ("port",)),
    Row("JSON with an error", "request a @picky --parameters '{\"port\": 80,}'", USAGE, ("--parameters",)),
    Row("JSON with an error", "request a @picky --parameters-file nothing.json", FAILED, ("nothing.json",)),
    Row("not a pair", "request a @picky --parameters port", USAGE, ("port",)),
    Row("unknown label", "request a @bystander --node region=moon", CANNOT_BE_PLACED, ("region",)),
    Row("unknown capability", "request a @bystander --node capability=gpu", CANNOT_BE_PLACED, ("gpu",)),
    Row("not JSON", "supply @not-json COMPUTER", FAILED, ("schema.json", "line 3")),
    Row("not a schema", "supply @not-schema COMPUTER", FAILED, ("schema.json", "type")),
    Row("bad types", "supply @not-types COMPUTER", FAILED, ("software.cfg.json",)),
    Row("missing schema", "supply @no-schema COMPUTER", FAILED, ("schema.json",)),
    Row("syntax", "supply @syntax COMPUTER --wait", FAILED, ("line",)),
    Row("no section", "supply @section COMPUTER --wait", FAILED, ("nowhere",)),
    Row("missing recipe", "supply @recipe COMPUTER --wait", FAILED, ("templat",)),
    Row("missing package", "supply @package COMPUTER --wait", FAILED, ("no.such.recipe",)),
    Row("missing extends", "supply @extends COMPUTER --wait", FAILED, ("missing.cfg",)),
    Row("missing option", "supply @option COMPUTER --wait", FAILED, ("output",)),
    Row("no instance", "supply @empty COMPUTER --wait", FAILED, ("instance.cfg",)),
    Row(
        "unbuildable requested", "supply @later COMPUTER\nrequest later @later --timeout 30", FAILED, ("instance.cfg",)
    ),
    Row("instance syntax", SUPPLIED.format("isyntax"), FAILED, ("line",)),
    Row("instance recipe", SUPPLIED.format("irecipe"), FAILED, ("servic",)),
    Row("instance option", SUPPLIED.format("ioption"), FAILED, ("option",)),
    Row("instance parameter", SUPPLIED.format("iparameter"), FAILED, ("port",)),
    Row("exits", SUPPLIED.format("exits"), FAILED, ("exits",)),
    Row("exits silently", SUPPLIED.format("silent"), FAILED, ("silent",)),
    Row("no program", SUPPLIED.format("noprogram"), FAILED, ("/no/such",)),
    Row("hangs", SUPPLIED.format("hangs"), FAILED, ("hangs",)),
    Row("closed", SUPPLIED.format("closed"), FAILED, ("listens",)),
    Row("run fails", SUPPLIED.format("runfails"), FAILED, ("cannot",)),
    Row("port taken", SUPPLIED.format("taken"), FAILED, ("cannot",)),
    Row("bad promise", SUPPLIED.format("badpromise"), FAILED, ("10.0.0.1",)),
    Row("time", "request slow @slow --timeout 1", FAILED, ("slow",)),
    Row("remove used", "remove @bystander COMPUTER", FAILED, ("bystander",)),
    Row("not root register", "node register --root /proc/nowhere x", FAILED, ("/proc",)),
    Row("two nodes", "node register --root other HOST", FAILED, ("HOST",)),
)

PROMISE = "[buildout]\nparts += promise\n[promise]\n"

INSTANCES = {
    "unsupplied": SERVICE,
    "isyntax": "[buildout]\nparts = a\n[a\nrecipe = slap:service\n",
    "irecipe": "[buildout]\nparts = a\n[a]\nrecipe = slap:servic\n",
    "ioption": "[buildout]\nparts = a\n[a]\nrecipe = slap:service\ncomand-line = /bin/true\n",
    "iparameter": "[buildout]\nparts = a\n[c]\nrecipe = slap:slapconfiguration\n[a]\nrecipe = slap:service\ncommand-line = /bin/sleep ${c:parameter.port}\n",
    "exits": SERVICE.replace("/bin/sleep 100000", '/bin/sh -c "echo I cannot find my data; exit 3"'),
    "silent": SERVICE.replace("/bin/sleep 100000", "/bin/false"),
    "noprogram": SERVICE.replace("/bin/sleep 100000", "/no/such/program"),
    "hangs": SERVICE + PROMISE + "recipe = slap:check-command\ncommand-line = /bin/sleep 1000\ntimeout = 1\n",
    "closed": SERVICE + PROMISE + "recipe = slap:check-port\nport = 9\n",
    "badpromise": SERVICE + PROMISE + "recipe = slap:check-port\nport = 9\naddress = 10.0.0.1\n",
    "runfails": "[buildout]\nparts = a\n[a]\nrecipe = slap:run\ncommand-line = /bin/sh -c 'echo I cannot; exit 7'\n",
    "taken": SERVICE,
    "slow": SERVICE,
    "bystander": SERVICE,
}

FILES = {
    "not-json/schema.json": '{\n  "type": "object",\n  "properties": {,}\n}\n',
    "not-schema/schema.json": '{"type": "objekt"}\n',
    "not-types/software.cfg.json": '{"software-type": ["default"]}\n',
    "no-schema/software.cfg.json": '{"software-type": {"default": {"request": "schema.json"}}}\n',
    "syntax/software.cfg": "[buildout]\nparts = a\n[a\nrecipe = slap:template\n",
    "section/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:template\noutput = ${nowhere:path}\n",
    "recipe/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:templat\n",
    "package/software.cfg": "[buildout]\nindex = http://127.0.0.1:9/\nparts = a\n[a]\nrecipe = no.such.recipe\n",
    "extends/software.cfg": "[buildout]\nextends = missing.cfg\n",
    "option/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:template\ninline = a\n",
    "empty/software.cfg": "[buildout]\nparts =\n",
    "later/software.cfg": "[buildout]\nparts =\n",
}

PICKY = {
    "type": "object",
    "required": ["port"],
    "additionalProperties": False,
    "properties": {"port": {"type": "integer", "minimum": 1}, "colour": {"type": "string"}},
}


@pytest.fixture(scope="module")
def cloud(releases):
    with small_cloud(40) as made:
        cfg = made.cfg.read_text().replace("promise_grace = 60.0", "promise_grace = 1.5")
        made.cfg.write_text(cfg)
        made.slapos("node", "restart", "slapos-agent")
        made.supply(releases / "bystander/software.cfg")
        made.slapos("request", "bystander", str(releases / "bystander/software.cfg"))
        made.slapos("supply", str(releases / "slow/software.cfg"), made.computer)
        yield made


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    for name, instance in INSTANCES.items():
        release(folder / name, instance)
    for name in ("picky", "not-json", "not-schema", "not-types", "no-schema"):
        release(folder / name, SERVICE, PICKY)
    (folder / "no-schema/schema.json").unlink()
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("row", TABLE, ids=lambda r: r.what.replace(" ", "-"))
def test_look(cloud, releases, row):
    import socket
    import textwrap
    import time

    for line in row.commands.splitlines():
        words = [
            str(releases / w[1:] / "software.cfg")
            if w.startswith("@")
            else w.replace("COMPUTER", cloud.computer).replace("HOST", socket.gethostname())
            for w in shlex.split(line)
        ]
        t = time.time()
        r = cloud.slapos(*words, check=False)
        with open("/tmp/bad-look.txt", "a") as f:
            print(f"\n=== {row.what}: {line}   -> {r.status} (wanted {row.status}) {time.time() - t:.1f}s", file=f)
            print(r.stdout, file=f)
            for l in r.stderr.splitlines():
                print("\n".join(textwrap.wrap(l, 80, subsequent_indent="", drop_whitespace=False)), file=f)
