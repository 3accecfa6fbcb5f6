"""The commands of `slapos` in slapos.core 1.26.1 that talk to a master, recorded from its parsers: what each takes.

`takes` is what follows an option's name: nothing (0), one word (1), or one or more ("+"); for what has no name, "*" is
any number. `ours` says what our command makes of it where that is not the same thing.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Option:
    """An option, by all of its names, or an argument without a name."""

    command: str
    names: tuple[str, ...]  # empty for an argument
    takes: int | str
    meaning: str
    ours: str = "the same"


def option(command: str, names: str, takes: int | str, meaning: str, ours: str = "the same") -> Option:
    return Option(command, tuple(names.split()), takes, meaning, ours)


def argument(command: str, meaning: str, takes: int | str = 1, ours: str = "the same") -> Option:
    return Option(command, (), takes, meaning, ours)


CFG = "the configuration file; else SLAPOS_CLIENT_CONFIGURATION, else ~/.slapos/slapos-client.cfg"
CFG_NODE = "the configuration file; else SLAPOS_CONFIGURATION, else /etc/opt/slapos/slapos.cfg"
NEARER = "the same, and between the variable and the home folder the small cloud of the project that we are in"
NODE_PLACES = "the same, and before the last the small cloud of the project that we are in and ~/slapos"

COMMANDS = [
    option("cachelookup binary-sr", "--cfg", 1, CFG_NODE, NODE_PLACES),
    argument("cachelookup binary-sr", "URL of a release or its MD5"),
    option("cachelookup pypi", "--cfg", 1, CFG_NODE, NODE_PLACES),
    argument("cachelookup pypi", "name of a package"),
    argument("cachelookup pypi", "its version"),
    option("cachelookup url", "--cfg", 1, CFG_NODE, NODE_PLACES),
    argument("cachelookup url", "URL that a file came from"),
    option("complete", "--name", 1, "name by which the command is typed"),
    option("complete", "--shell", 1, "bash, fish or none", "the same; bash needs no package beside"),
    option("computer info", "--cfg", 1, CFG, NEARER),
    argument("computer info", "a computer", ours="shows partitions, software and health, not only the title"),
    option("computer list", "--cfg", 1, CFG, NEARER),
    option("computer token", "--cfg", 1, CFG, NEARER),
    option("configure client", "--cfg", 1, "the file to write"),
    option("configure client", "--master-url", 1, "the master", "has no default; may be given without the option"),
    option("configure client", "--master-url-web", 1, "where the token is exchanged for a certificate", "no default"),
    option("configure client", "--token", 1, "the token; asked for when left away", "only -: words are no secrets"),
    option("configure local", "--cfg", 1, CFG_NODE, "the node's file, which is written"),
    option("configure local", "--interface-name", 1, "interface that gets the addresses of partitions"),
    option("configure local", "--partition-number", 1, "number of partitions"),
    option("configure local", "--ipv4-local-network", 1, "addresses of partitions"),
    option("configure local", "--daemon-listen-ip", 1, "where the master listens"),
    option("configure local", "--daemon-listen-port", 1, "where the master listens"),
    option("configure local", "--slapos-instance-root", 1, "folder of partitions", "by default in --root"),
    option("configure local", "--slapos-software-root", 1, "folder of releases", "by default in --root"),
    option("configure local", "--slapos-buildout-directory", 1, "folder of the rest", "by default --root"),
    option("configure local", "--slapos-configuration-directory", 1, "folder of configuration", "by default in --root"),
    option("configure local", "--enable-shacache-proxy", 0, "the master serves a cache", "says that it serves none"),
    option("console", "--cfg", 1, CFG, NEARER),
    option("console", "-u --master_url", 1, "another master", "wins over the configuration"),
    option("console", "-k --key_file", 1, "key of the certificate"),
    option("console", "-c --cert_file", 1, "certificate"),
    option("console", "-i --ipython", 0, "IPython where it is installed"),
    option("console", "-b --bpython", 0, "bpython where it is installed"),
    option("console", "-p --python", 0, "Python's own shell"),
    argument("console", "a script with its arguments", "*"),
    argument("help", "a command", "*"),
    option("proxy show", "--cfg", 1, CFG_NODE),
    option("proxy show", "-u --database-uri", 1, "the database"),
    option("proxy show", "--computers", 0, "show computers"),
    option("proxy show", "--software", 0, "show releases"),
    option("proxy show", "--partitions", 0, "show partitions"),
    option("proxy show", "--slaves", 0, "show shared instances"),
    option("proxy show", "--params", 0, "show parameters"),
    option("proxy show", "--network", 0, "show addresses"),
    option("proxy start", "--cfg", 1, CFG_NODE),
    option("proxy start", "-u --database-uri", 1, "the database"),
    option("proxy start", "--port", 1, "where to listen"),
    option("proxy start", "--host", 1, "where to listen"),
    option("proxy start", "--local-software-release-root", 1, "folder of local releases"),
    option("remove", "--cfg", 1, CFG, NEARER),
    argument("remove", "a release"),
    argument("remove", "a computer"),
    option("request", "--cfg", 1, CFG, NEARER),
    argument("request", "name of the service"),
    argument("request", "a release"),
    option("request", "--node", "+", "where to place it, KEY=VALUE", "the same; several may share a word, with commas"),
    option("request", "--type", 1, "software type"),
    option("request", "--state", 1, "started, stopped or destroyed; any other word is taken", "any other is refused"),
    option("request", "--slave", 0, "a shared instance"),
    option("request", "--force-serialisation", 1, "xml or json-in-xml, for a file", "for words as well"),
    option("request", "--parameters", "+", "KEY=VALUE", "or one JSON object"),
    option("request", "--parameters-file", 1, "a file in JSON, YAML or XML, by its name", "- is JSON from stdin"),
    option("service info", "--cfg", 1, CFG, NEARER),
    argument("service info", "name of the service"),
    option("service info", "--news", 0, "with what nodes said last", "the same, for each instance of the tree"),
    option("service list", "--cfg", 1, CFG, NEARER),
    option("supply", "--cfg", 1, CFG, NEARER),
    argument("supply", "a release"),
    argument("supply", "a computer"),
]

# Of the command itself, before or behind the name of a command.
COMMON = ["--version", "-v", "--verbose", "-q", "--quiet", "--debug", "--log-file", "--logfile", "--log_file"]
COMMON += ["--log-color", "--log-time", "-h", "--help"]

# What people type, from SlapOS's own documentation and from the facts about its options above.
TYPED = [
    "supply http://releases/kvm/software.cfg COMP-1",
    "remove http://releases/kvm/software.cfg COMP-1",
    "request mine http://releases/kvm/software.cfg",
    "request mine http://releases/kvm/software.cfg --node computer_guid=COMP-1",
    "request mine http://releases/kvm/software.cfg --node computer_guid=COMP-1 network_guid=lan --type cluster",
    "request mine http://releases/kvm/software.cfg --parameters ram=2 disk=20 --state stopped",
    "request --node computer_guid=COMP-1 --slave mine http://releases/kvm/software.cfg",
    "request mine http://releases/kvm/software.cfg --parameters-file p.yaml --force-serialisation xml",
    "service list --cfg client.cfg",
    "service info mine --news",
    "computer list",
    "computer info COMP-1",
    "configure client --master-url https://master --master-url-web https://panel",
    "configure local --partition-number 5 --daemon-listen-ip 127.0.0.1 --daemon-listen-port 8080",
    "console --python",
    "console script.py one two",
    "console -u https://master -k key -c certificate",
    "cachelookup binary-sr 0123456789abcdef0123456789abcdef",
    "cachelookup pypi slapos.core 1.26.1",
    "cachelookup url http://releases/file.tar.gz",
    "complete --shell fish --name slapos",
    "help request",
]
