"""Releases and a computer that both nodes can work on: slapos.core's with a plain buildout, and ours."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from slap.client.master import Master
from slap.client.native import NativeMaster
from slap.model.errors import SlapError, Unreachable
from slap.node.core.config import read
from slap.node.partition.supervision import connect
from slap.system.supervisor import News, RpcSupervisor
from tests.system.cloud import Result, as_nobody, eventually
from tests.system.slapos_peer import Peer, eggs_of_all
from tests.system.typed import SLAPOS

COMPUTER = "COMP-PEER"

# The pins are ours to need: SlapOS's node takes them from its own Python, which has them installed.
SOFTWARE = """\
[buildout]
parts = eggs slapos-cookbook instance-profile
versions = versions
eggs-directory = {eggs}

# Instances look for them in the release.
[eggs]
recipe = slapos.recipe.build
init =
  import os
  place = os.path.join(self.buildout['buildout']['directory'], 'eggs')
  if not os.path.lexists(place):
    os.symlink('{eggs}', place)

[slapos-cookbook]
recipe = zc.recipe.egg
scripts =
eggs =
  slapos.cookbook
  slapos.toolbox
  slapos.recipe.build
  slapos.recipe.template

[instance-profile]
recipe = slapos.recipe.template
url = {folder}/instance.cfg.in
md5sum = {digest}
output = ${{buildout:directory}}/instance.cfg

[versions]
slapos.cookbook = 1.0.514
slapos.core = 1.26.1
slapos.toolbox = 0.170
slapos.recipe.build = 0.66
slapos.recipe.template = 5.1
"""

# Buildout as the package index has it refuses the lists and bytes that slapconfiguration and request put into options:
# the library below them is asked instead, by a recipe that SlapOS profiles use for that too.
COMMON = """\
eggs-directory = ${buildout:eggs-directory}
develop-eggs-directory = ${buildout:develop-eggs-directory}
offline = true

[slap]
recipe = slapos.recipe.build
url = $${slap-connection:server-url}
key = $${slap-connection:key-file}
cert = $${slap-connection:cert-file}
computer = $${slap-connection:computer-id}
partition = $${slap-connection:partition-id}
init =
  import json
  from slapos.slap import slap
  connection = slap()
  connection.initializeConnection(options['url'], options['key'] or None, options['cert'] or None)
  mine = connection.registerComputerPartition(options['computer'], options['partition'])
  told = mine.getInstanceParameterDict()
  asked = json.loads(told['_']) if '_' in told else told
  options['greeting'] = asked['greeting']
  options['number'] = json.dumps(asked.get('number'))
  options['ip'] = min(address for _, address in told['ip_list'])
  options['guests'] = json.dumps(told['slave_instance_list'])
  self.mine = mine

[directory]
recipe = slapos.cookbook:mkdirectory
etc = $${buildout:directory}/etc
service = $${:etc}/service
plugin = $${:etc}/plugin
www = $${buildout:directory}/srv/www
"""

WEB = (
    """\
[buildout]
parts = directory index web web-promise publish guests
"""
    + COMMON
    + """
[index]
recipe = slapos.recipe.template
inline = $${slap:greeting}
output = $${directory:www}/index.html

[web]
recipe = slapos.cookbook:wrapper
command-line = /usr/bin/python3 -m http.server --bind $${slap:ip} --directory $${directory:www} PORT
wrapper-path = $${directory:service}/web

[web-promise]
recipe = slapos.cookbook:promise.plugin
eggs = slapos.toolbox
output = $${directory:plugin}/web-listens.py
module = slapos.promise.plugin.check_socket_listening
config-host = $${slap:ip}
config-port = PORT
config-frequency = 1

[publish]
recipe = slapos.cookbook:publish.serialised
url = http://$${slap:ip}:PORT/
greeting = $${slap:greeting}
number = $${slap:number}

[guests]
recipe = slapos.recipe.build
guests = $${slap:guests}
url = $${publish:url}
init =
  self.slap = self.buildout['slap'].recipe.mine
update =
  import json
  for guest in json.loads(options['guests']):
    told = json.loads(guest['_']) if '_' in guest else guest
    answer = {'_': json.dumps({'url': options['url'] + told['page'], 'name': guest['slave_reference']})}
    self.slap.setConnectionDict(answer, guest['slave_reference'])
"""
)

# Asks for a web service below itself, and talks flat: strings in, strings out.
TREE = (
    """\
[buildout]
parts = directory publish
"""
    + COMMON
    + """
[child]
recipe = slapos.recipe.build
init =
  import json
  slap = self.buildout['slap']
  asked = {'greeting': slap['greeting']}
  child = slap.recipe.mine.request('CHILD', 'default', 'child', partition_parameter_kw=asked)
  options['url'] = json.loads(child.getConnectionParameter('_'))['url']

[publish]
recipe = slapos.cookbook:publish
child-url = $${child:url}
greeting = $${slap:greeting}
"""
)


def write_release(folder: Path, profile: str, serialisation: str) -> Path:
    """A software release in a folder that all may read, as its author would have published it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "instance.cfg.in").write_text(profile)
    digest = md5(profile.encode()).hexdigest()
    (folder / "software.cfg").write_text(SOFTWARE.format(folder=folder, digest=digest, eggs=eggs_of_all()))
    any_object = {"request": "request.json", "response": "request.json"}
    guest = {"title": "Page", "shared": True, "software-type": "default", "index": 1, **any_object}
    types = {"default": {"title": "Default", "index": 0, **any_object}, "default-slave": guest}
    description = {"name": folder.name, "serialisation": serialisation, "software-type": types}
    (folder / "software.cfg.json").write_text(json.dumps(description))
    (folder / "request.json").write_text('{"type": "object"}')
    return folder / "software.cfg"


def write_web(folder: Path, port: int) -> Path:
    return write_release(folder, WEB.replace("PORT", str(port)), "json-in-xml")


def write_tree(folder: Path, child: Path) -> Path:
    return write_release(folder, TREE.replace("CHILD", str(child)), "xml")


def prepare_for_their_node(there: Peer, partitions: int) -> None:
    """Partitions of the user that the node runs as, written down as SlapOS's node takes them."""
    port = int(there.master_url.rstrip("/").rpartition(":")[2])
    network = f"127.{port // 256}.{port % 256}"
    sections = [
        f"[partition_{number}]\naddress = {network}.{number + 1}/32\npathname = slappart{number}\n"
        "user = nobody\nnetwork_interface = lo\n"
        for number in range(partitions)
    ]
    definition = there.folder / "partitions.cfg"
    definition.write_text("\n".join(["[computer]\naddress = 127.0.0.1/32\n", *sections]))
    section = f"[slapformat]\ninput_definition_file = {definition}"
    there.cfg.write_text(there.cfg.read_text().replace("[slapformat]", section))
    for name in ("software", "instance"):
        (there.folder / name).chmod(0o750)
    give_away(there, definition)


def give_away(there: Peer, *paths: Path) -> None:
    """To the user that everything in the folder belongs to."""
    owner = there.folder.stat()
    for path in paths:
        os.chown(path, owner.st_uid, owner.st_gid)


@dataclass(frozen=True)
class Ours:
    """Our commands with the slapos.cfg of somebody who runs SlapOS, as the same Unix user."""

    peer: Peer

    def slapos(self, *words: str, check: bool = True, timeout: float = 300) -> Result:
        done = subprocess.run(
            self._argv(*words),
            env=self._environment,
            cwd=self.peer.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        result = Result(done.returncode, done.stdout, done.stderr)
        assert not check or result.status == 0, f"our slapos {' '.join(words)}: {result}"
        return result

    @contextmanager
    def background(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.peer.folder / f"our-{'-'.join(words[:2])}.log").open("ab") as log:
            started = subprocess.Popen(
                self._argv(*words),
                env=self._environment,
                cwd=self.peer.folder,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield started
        finally:
            started.terminate()
            started.wait(30)

    @contextmanager
    def master(self) -> Iterator[Master]:
        """Our master, in the place of the slapproxy that slapos.cfg describes."""
        with self.background("proxy", "start", "--cfg", str(self.peer.cfg)):
            asked = NativeMaster(self.peer.master_url, "")
            eventually(lambda: _answers(asked), 60, pause=0.1)
            yield asked

    @contextmanager
    def agent(self) -> Iterator[None]:
        """Our node, until the block ends, with all that it started."""
        self.slapos("node", "format", "--cfg", str(self.peer.cfg))
        try:
            with self.background("node", "agent", "--cfg", str(self.peer.cfg)):
                yield
        except BaseException:
            print((self.peer.folder / "our-node-agent.log").read_text())
            raise
        finally:
            end_supervisor(connect(read(self.peer.cfg), News()))

    def _argv(self, *words: str) -> tuple[str, ...]:
        return as_nobody((str(SLAPOS), *words))

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.peer.folder),
            "SLAPOS_CONFIGURATION": str(self.peer.cfg),
            "SLAPOS_CLIENT_CONFIGURATION": str(self.peer.folder / "client.cfg"),
        }


def end_supervisor(supervisor: RpcSupervisor) -> None:
    with suppress(Unreachable):
        for group in supervisor.groups():
            supervisor.remove(group)
        os.kill(supervisor.pid(), signal.SIGTERM)


def _answers(master: Master) -> bool:
    try:
        master.computers()
    except SlapError:
        return False
    return True
