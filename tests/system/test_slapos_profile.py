"""A release as SlapOS has them, of the recipes of slapos.cookbook as the package index has them: built, ordered, asked."""

import json
import stat
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from slap.model.instance import Instance
from slap.node.core.config import read as read_configuration
from tests.system.cloud import Cloud, eventually, small_cloud

COOKBOOK, CORE, TOOLBOX, TEMPLATE = "1.0.514", "1.26.1", "0.170", "5.1"

STACK = f"""\
[slapos-cookbook]
recipe = zc.recipe.egg
eggs =
  slapos.cookbook
  slapos.toolbox
  slapos.recipe.template

[versions]
zc.buildout = 3.0.1+slapos010
zc.recipe.egg = 2.0.8.dev0+slapos007
setuptools = 67.8.0
slapos.cookbook = {COOKBOOK}
slapos.core = {CORE}
slapos.toolbox = {TOOLBOX}
slapos.recipe.template = {TEMPLATE}
pytz = 2025.2+SlapOSPatched001

[template-base]
recipe = slapos.recipe.build:download
url = ${{:_profile_base_location_}}/${{:filename}}
shared = true
"""

SOFTWARE = """\
[buildout]
extends = stack/stack.cfg#{stack}
extensions = buildout-versions
parts = slapos-cookbook instance-profile root child
versions = versions

[instance-profile]
recipe = slapos.recipe.template
url = ${{:_profile_base_location_}}/instance.cfg.in
md5sum = {instance}
output = ${{buildout:directory}}/instance.cfg

[root]
<= template-base
url = ${{:_profile_base_location_}}/${{:filename}}
filename = root.cfg.jinja2
md5sum = {root}

[child]
<= template-base
url = ${{:_profile_base_location_}}/${{:filename}}
filename = child.cfg.jinja2
md5sum = {child}
"""

INSTANCE = """\
[buildout]
parts = switch-softwaretype
eggs-directory = ${buildout:eggs-directory}
develop-eggs-directory = ${buildout:develop-eggs-directory}
offline = true

[slap-configuration]
recipe = slapos.cookbook:slapconfiguration.serialised
computer = $${slap-connection:computer-id}
partition = $${slap-connection:partition-id}
url = $${slap-connection:server-url}
key = $${slap-connection:key-file}
cert = $${slap-connection:cert-file}

[switch-softwaretype]
recipe = slapos.cookbook:switch-softwaretype
default = dynamic-root:rendered
child = dynamic-child:rendered
RootSoftwareInstance = $${:default}

[dynamic-base]
recipe = slapos.recipe.template:jinja2
rendered = $${buildout:directory}/$${:filename}
extensions = jinja2.ext.do
context =
  key parameters slap-configuration:configuration
  key ipv4_set slap-configuration:ipv4
  section slap slap-connection

[dynamic-root]
<= dynamic-base
template = ${root:target}
filename = instance-root.cfg

[dynamic-child]
<= dynamic-base
template = ${child:target}
filename = instance-child.cfg
"""

COMMON = """\
[buildout]
parts = {{ parts }}
offline = true

[directory]
recipe = slapos.cookbook:mkdirectory
etc = ${buildout:directory}/etc
service = ${:etc}/service
plugin = ${:etc}/plugin
www = ${buildout:directory}/srv/www

[password]
recipe = slapos.cookbook:generate.password
storage-path = ${directory:etc}/password
bytes = 12

[port]
recipe = slapos.cookbook:free_port
minimum = {{ lowest }}
maximum = {{ lowest + 500 }}
ip = {{ ipv4_set | first }}

[text]
greeting = {{ dumps(parameters.get("greeting", "none")) }}

[index]
recipe = slapos.recipe.template
inline = ${text:greeting} costs 5$$.
output = ${directory:www}/index.html

[web]
recipe = slapos.cookbook:wrapper
command-line = /usr/bin/python3 -m http.server --bind ${port:ip} --directory ${directory:www} ${port:port}
wrapper-path = ${directory:service}/web
hash-files = ${index:output}

[web-promise]
recipe = slapos.cookbook:promise.plugin
eggs = slapos.toolbox
output = ${directory:plugin}/web-listens.py
module = slapos.promise.plugin.check_socket_listening
config-host = ${port:ip}
config-port = ${port:port}
config-frequency = 1
"""

ROOT = (
    """\
{% set parts = "publish web web-promise" %}{% set lowest = 21000 %}
"""
    + COMMON
    + """
[request-base]
recipe = slapos.cookbook:request.serialised
server-url = ${slap-connection:server-url}
key-file = ${slap-connection:key-file}
cert-file = ${slap-connection:cert-file}
computer-id = ${slap-connection:computer-id}
partition-id = ${slap-connection:partition-id}
software-url = ${slap-connection:software-release-url}

[request-child]
<= request-base
name = child
software-type = child
config-numbers = {{ dumps(parameters.get("numbers", [])) }}
config-greeting = {{ dumps(parameters.get("greeting", "none")) }}
return = url sum greeting

[request-perhaps]
<= request-base
recipe = slapos.cookbook:requestoptional.serialised
name = perhaps
software-type = child
config-numbers = {{ dumps([1]) }}
return = what-nobody-publishes

[publish]
recipe = slapos.cookbook:publish.serialised
url = http://${port:ip}:${port:port}/
child-url = ${request-child:connection-url}
child-sum = ${request-child:connection-sum}
child-greeting = ${request-child:connection-greeting}
perhaps = ${request-perhaps:connection-what-nobody-publishes}.
password = ${password:passwd}
"""
)

CHILD = (
    """\
{% set parts = "publish web web-promise" %}{% set lowest = 22000 %}
"""
    + COMMON
    + """
[publish]
recipe = slapos.cookbook:publish.serialised
url = http://${port:ip}:${port:port}/
sum = {{ dumps(parameters["numbers"] | sum) }}
greeting = ${text:greeting}
"""
)

TYPES = {
    "name": "Cooked",
    "serialisation": "json-in-xml",
    "software-type": {"default": {"title": "Root"}, "child": {"title": "Child"}},
}

# Nothing in it is buildout's syntax, however it looks: it is data from the first to the last.
GREETING = "Hi ${a:b} $ %(x)s é [x]\r!py!{}"


def write_release(folder: Path) -> Path:
    (folder / "stack").mkdir(parents=True)
    texts = {"stack": STACK, "instance": INSTANCE, "root": ROOT, "child": CHILD}
    templates = {"root": "root.cfg.jinja2", "child": "child.cfg.jinja2"}
    names = {"stack": "stack/stack.cfg", "instance": "instance.cfg.in", **templates}
    for key, text in texts.items():
        (folder / names[key]).write_text(text)
    digests = {key: md5(text.encode()).hexdigest() for key, text in texts.items()}
    (folder / "software.cfg").write_text(SOFTWARE.format(**digests))
    (folder / "software.cfg.json").write_text(json.dumps(TYPES))
    return folder / "software.cfg"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """With the release built."""
    with small_cloud(6) as made:
        made.supply(write_release(made.folder / "release"))
        yield made


@pytest.fixture(scope="module")
def tree(cloud: Cloud) -> dict[str, Instance]:
    """The instances by their references, all of them started."""
    words = ("request", "cooked", str(cloud.folder / "release/software.cfg"), "--timeout", "120")
    parameters = json.dumps({"greeting": GREETING, "numbers": [1, 2, 39]})
    cloud.slapos(*words, "--parameters", parameters)
    guid = next(each.guid for each in cloud.master().instances() if each.reference == "cooked")
    eventually(lambda: cloud.master().tree(guid).is_settled)
    return {each.reference: each for each in cloud.master().tree(guid).instances}


def partition(cloud: Cloud, instance: Instance) -> Path:
    return cloud.srv / instance.partition


def test_a_tree_of_slapos_recipes_starts_and_publishes(tree: dict[str, Instance]) -> None:
    assert sorted(tree) == ["child", "cooked", "perhaps"]
    assert {each.reported for each in tree.values()} == {"started"}
    connection = tree["cooked"].connection
    assert (connection["child-sum"], connection["perhaps"]) == (42, ".")
    assert connection["child-url"] == tree["child"].connection["url"]
    assert len(connection["password"]) == 12


def test_what_pip_keeps_is_no_part_of_the_release(cloud: Cloud) -> None:
    config = read_configuration(cloud.cfg)
    assert not (config.software(str(cloud.folder / "release/software.cfg")) / ".cache").exists()
    assert (config.download_cache / "tools/pip").is_dir()


def test_values_of_strangers_come_through_unread(cloud: Cloud, tree: dict[str, Instance]) -> None:
    assert tree["cooked"].connection["child-greeting"] == GREETING
    with urlopen(tree["cooked"].connection["url"], timeout=10) as page:
        text = page.read().decode()
    assert text.replace("\n", "\r") == f"{GREETING} costs 5$.".replace("\n", "\r")


def test_promise_plugins_of_slapos_watch_the_service(cloud: Cloud, tree: dict[str, Instance]) -> None:
    (promise,) = tree["cooked"].promises
    assert (promise.name, promise.passed) == ("web-listens", True)
    saved = partition(cloud, tree["cooked"]) / ".slapgrid/promise/result/web-listens.status.json"
    result = json.loads(saved.read_text())
    assert (result["title"], result["result"]["failed"]) == ("web-listens", False)


def test_the_token_is_in_the_profile_alone(cloud: Cloud, tree: dict[str, Instance]) -> None:
    folder = partition(cloud, tree["cooked"])
    token = json.loads((folder / ".slapos-context.json").read_text())["instance"]["token"].rpartition(":")[2]
    profile = folder / "buildout.cfg"
    assert token in profile.read_text()
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    logs = [path for path in (cloud.folder / "log").rglob("*") if path.is_file()]
    assert [path for path in logs if token in path.read_text(errors="replace")] == []


def test_a_changed_parameter_reaches_parts_that_only_refer_to_it(cloud: Cloud, tree: dict[str, Instance]) -> None:
    words = ("request", "cooked", str(cloud.folder / "release/software.cfg"), "--timeout", "120")
    cloud.slapos(*words, "--parameters", json.dumps({"greeting": "Salut", "numbers": [7]}))
    url = tree["cooked"].connection["url"]
    eventually(lambda: read(url).startswith("Salut costs"), seconds=60)
    eventually(lambda: connection(cloud, tree["cooked"].guid)["child-sum"] == 7, seconds=60)


def read(url: str) -> str:
    with urlopen(url, timeout=10) as page:
        return str(page.read().decode())


def connection(cloud: Cloud, guid: str) -> dict[str, Any]:
    return cloud.master().instance(guid).connection
