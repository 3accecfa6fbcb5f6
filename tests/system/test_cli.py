"""The commands in the forms that SlapOS's users type, at a real small cloud."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.system.cloud import HELLOWORLD, PROJECT, Cloud, Result
from tests.system.typed import SLAPOS

URL = str(HELLOWORLD)

SCRIPT = """\
import json, sys
partition = request({url!r}, sys.argv[1], partition_parameter_kw={{"_": json.dumps({{"greeting": "Hej"}})}})
assert partition.getState() == "started"
partition.wait(60)
connection = partition.getConnectionParameterDict()
assert json.loads(connection["_"]) == connection
computer = slap.registerComputer(partition.instance.computer)
assert partition.getId() in [each.getId() for each in computer.getComputerPartitionList()]
assert {url!r} in [each.getURI() for each in computer.getSoftwareReleaseList()]
print(connection["url"], partition.getInstanceParameter("greeting"))
request({url!r}, sys.argv[1], state="destroyed").wait(60)
"""

COMPLETE = """\
source <(slapos complete)
complete -p slapos >/dev/null
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
    _slapos_complete
    echo "${COMPREPLY[*]}"
}
set -eu
try slapos comp
try slapos service li
try slapos request --para
try slapos service info co
try slapos node ""
"""


def test_a_service_is_ordered_in_slapos_words(cloud: Cloud, tmp_path: Path) -> None:
    cloud.slapos("supply", URL, cloud.computer)
    cloud.supply()
    place = ("--node", f"computer_guid={cloud.computer}", "--type", "default")
    assert _ordered(cloud, "request", "words", URL, "--parameters", "greeting=Hi", *place)["greeting"] == "Hi"
    for name, text in (("p.yaml", "greeting: Salut\n"), ("p.xml", '<i><parameter id="greeting">Ciao</parameter></i>')):
        (tmp_path / name).write_text(text)
        ordered = _ordered(cloud, "request", "words", URL, "--parameters-file", str(tmp_path / name))
        assert ordered["greeting"] in text
    info = cloud.slapos("service", "info", "words", "--news", "-f", "json").json
    assert (info["parameters"], info["status"]) == ({"greeting": "Ciao"}, "started")
    assert info["news"][0]["text"].startswith("#access started on")
    cloud.slapos("request", "words", URL, "--state", "destroyed")
    assert "words" not in cloud.slapos("service", "list", "-f", "value", "-c", "name").stdout.split()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("supply", URL, "COMP-nowhere"), 1, "COMP-nowhere"),
        (("supply", "http://127.0.0.1:9/software.cfg", "COMPUTER"), 1, "127.0.0.1:9"),
        (("request", "wrong", "http://127.0.0.1:9/software.cfg"), 1, "127.0.0.1:9"),
        (("request", "wrong", URL, "--state", "runing"), 2, "none of started, stopped, destroyed"),
        (("request", "wrong", URL, "--state", "stoped"), 2, "did you mean 'stopped'?"),
        (("request", "wrong", URL, "--node", "computer_guid=COMP-nowhere"), 1, "no computer COMP-nowhere"),
        (("request", "wrong", URL, "--node", "zone=nowhere"), 4, "zone"),
        (("request", "wrong", URL, "--paramters", "a=b"), 2, "--paramters"),
        (("request", "wrong", "product.nothing"), 1, "There is no release nothing"),
        (("service", "info", "wrong"), 1, "wrong"),
        (("computer", "info", "COMP-nowhere"), 1, "COMP-nowhere"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    cloud: Cloud, words: tuple[str, ...], status: int, said: str
) -> None:
    """SlapOS's own command ends most of these with 0, or with a traceback."""
    cloud.supply()
    done = cloud.slapos(*(cloud.computer if word == "COMPUTER" else word for word in words), check=False)
    assert (done.status, "Traceback" in done.stderr) == (status, False)
    assert said in done.stderr
    assert cloud.master().instances("wrong") == []


def test_lists_come_in_every_format(cloud: Cloud) -> None:
    cloud.supply()
    cloud.slapos("request", "formats", URL)
    by = {
        name: cloud.slapos("service", "list", "-f", name).stdout for name in ("table", "json", "yaml", "csv", "value")
    }
    assert all("formats" in text for text in by.values())
    assert json.loads(by["json"])[0]["software"] == URL


def test_a_script_for_slapos_runs_in_the_console(cloud: Cloud, tmp_path: Path) -> None:
    cloud.supply()
    (tmp_path / "script.py").write_text(SCRIPT.format(url=URL))
    url, greeting = cloud.slapos("console", str(tmp_path / "script.py"), "scripted").stdout.split()
    assert (url.startswith("http://"), greeting) == (True, "Hej")


def test_a_console_answers_and_shows_errors_in_our_words(cloud: Cloud) -> None:
    typed = "request('nothing', 'x')\nsorted(slap.getComputerDict().values(), key=str)\n"
    done = cloud.slapos("console", "--python", stdin=typed)
    assert f"[<computer {cloud.computer}>]" in done.stdout
    assert "There is no software release nothing." in done.stderr
    assert "Traceback" not in done.stderr


def test_bash_completes_commands_options_and_names(cloud: Cloud) -> None:
    cloud.supply()
    cloud.slapos("request", "completed", URL)
    done = _bash(cloud, COMPLETE)
    assert done.status == 0, done.stderr
    first, second, third, fourth, fifth = done.stdout.splitlines()
    assert (first, second) == ("complete computer", "list")
    assert third == "--parameters --parameters-file"
    assert fourth == "completed"
    assert {"format", "agent", "status"} <= set(fifth.split())


def test_a_client_is_configured_and_told_which_configuration_is_in_force(cloud: Cloud) -> None:
    """Without SLAPOS_CLIENT_CONFIGURATION, which goes before all."""
    token = cloud.folder / "client.token"
    home = cloud.folder / "home"
    project = home / "project/var/standalone"
    project.mkdir(parents=True)
    words = ("configure", "client", "--master-url", cloud.master_url, "--token-file", str(token))
    assert "goes before it" not in _at_home(home, home, *words).stderr
    assert _at_home(home, home, "computer", "list", "-f", "json").json[0]["computer"] == cloud.computer
    shutil.copy(cloud.folder / "client.cfg", project)
    said = _at_home(home, home / "project", *words).stderr
    assert f"{project}/client.cfg goes before it" in said


def _ordered(cloud: Cloud, *words: str) -> dict[str, str]:
    connection: dict[str, str] = cloud.slapos(*words, "-f", "json").json
    return connection


def _bash(cloud: Cloud, script: str) -> Result:
    env = {
        "PATH": f"{SLAPOS.parent}:/usr/bin:/bin",
        "HOME": str(cloud.folder),
        "SLAPOS_CLIENT_CONFIGURATION": str(cloud.folder / "client.cfg"),
    }
    argv = ["bash", "--norc", "-c", script]
    done = subprocess.run(argv, env=env, cwd=PROJECT, capture_output=True, text=True, timeout=120)
    return Result(done.returncode, done.stdout, done.stderr)


def _at_home(home: Path, folder: Path, *words: str) -> Result:
    env = {"PATH": os.defpath, "HOME": str(home)}
    done = subprocess.run([SLAPOS, *words], env=env, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return Result(done.returncode, done.stdout, done.stderr)
