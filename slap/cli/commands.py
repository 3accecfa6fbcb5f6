"""The table of all commands. Nothing of a command is loaded before it is chosen, so that starting up stays cheap."""

import difflib
import gc
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cliff.commandmanager import CommandManager


@dataclass(frozen=True)
class Entry:
    """Where a command lives, in the shape of an entry point, and the line about it in the overview."""

    name: str
    value: str  # MODULE:CLASS
    summary: str

    def load(self) -> Any:
        """The class of the command. Modules make many objects and no garbage: looking for it meanwhile, and through all of
        them once more when Python ends, would take up to a third of a command's time.
        """
        module, _, class_name = self.value.partition(":")
        gc.disable()
        try:
            loaded = importlib.import_module(module)
        finally:
            gc.freeze()
            gc.enable()
        return getattr(loaded, class_name)


def _entries(room: str, rows: Iterable[tuple[str, str, str]]) -> tuple[Entry, ...]:
    return tuple(Entry(name, f"slap.cli.{room}:{kind}", summary) for name, kind, summary in rows)


# Commands that a service of a partition, or the start of a computer, calls.
PLUMBING = "Plumbing, called by services and by the node"
GROUPS: dict[str, tuple[Entry, ...]] = {
    "Services": (
        *_entries("order.request", [("request", "Request", "Order a service, or change one, and wait until it runs")]),
        *_entries(
            "service",
            [
                ("service list", "ServiceList", "List your services"),
                ("service info", "ServiceInfo", "Show all about a service: tree, promises, connection"),
                ("service logs", "ServiceLogs", "Show the last lines of a service's logs"),
                ("service history", "ServiceHistory", "List what was requested of a service, by whom and when"),
            ],
        ),
        *_entries(
            "order.plan", [("service plan", "ServicePlan", "Show what a request would change, without doing it")]
        ),
        *_entries(
            "order.change",
            [
                ("service rollback", "ServiceRollback", "Request again what was requested before"),
                ("service start", "ServiceStart", "Start a stopped service"),
                ("service stop", "ServiceStop", "Stop a service and keep its data"),
                ("service destroy", "ServiceDestroy", "Destroy a service with its data"),
            ],
        ),
    ),
    "Software and computers": (
        *_entries(
            "supply",
            [
                ("supply", "Supply", "Have a software release built on a computer"),
                ("remove", "Remove", "Remove a software release from a computer"),
            ],
        ),
        *_entries(
            "computer",
            [
                ("computer list", "ComputerList", "List the computers that you can order on"),
                ("computer info", "ComputerInfo", "Show a computer: partitions, software, last seen"),
            ],
        ),
        Entry(
            "computer token",
            "slap.cli.access.token:ComputerToken",
            "Make a token with which a computer registers, once",
        ),
    ),
    "Getting started": (
        *_entries(
            "configure.client",
            [("configure client", "ConfigureClient", "Say which master to talk to, and with which token")],
        ),
        *_entries(
            "configure.local", [("configure local", "ConfigureLocal", "Configure a master and a node on this machine")]
        ),
        *_entries(
            "standalone",
            [
                ("standalone up", "StandaloneUp", "Bring a whole small cloud up on this machine"),
                ("standalone down", "StandaloneDown", "End every process of the small cloud"),
                ("standalone status", "StandaloneStatus", "Show what of the small cloud runs, and where"),
            ],
        ),
    ),
    "Master": (
        *_entries(
            "proxy",
            [
                ("proxy start", "ProxyStart", "Run the single-machine master, on the loopback address"),
                ("proxy show", "ProxyShow", "List all partitions with what is in them"),
            ],
        ),
        *_entries(
            "master",
            [
                ("master start", "MasterStart", "Run a master for many machines"),
                ("master user", "MasterUser", "Make a token or a certificate for a user of a master"),
            ],
        ),
        *_entries(
            "access.credentials",
            [
                ("master credentials", "MasterCredentials", "List the tokens and certificates that are in force"),
                ("master revoke", "MasterRevoke", "End tokens and certificates"),
                ("master rotate", "MasterRotate", "Replace a secret of a master that others may know"),
            ],
        ),
    ),
    "Node": (
        *_entries(
            "node.format",
            [
                ("node register", "NodeRegister", "Register this computer at a master"),
                ("node format", "NodeFormat", "Prepare the partitions of this computer"),
                ("node boot", "NodeBoot", "Bring everything up after the machine started"),
            ],
        ),
        *_entries(
            "node.passes",
            [
                ("node software", "NodeSoftware", "Build and remove software releases, once"),
                ("node instance", "NodeInstance", "Process the partitions, once"),
                ("node report", "NodeReport", "Report states to the master, once"),
                ("node agent", "NodeAgent", "Follow the master and process its orders at once"),
                ("node bang", "NodeBang", "Have all partitions of this computer processed again"),
            ],
        ),
        *_entries("node.usage", [("node collect", "NodeCollect", "Measure what partitions use, once, and show it")]),
        *_entries(
            "node.process",
            [
                ("node status", "NodeStatus", "Show the processes of the partitions"),
                ("node start", "NodeStart", "Start processes of a partition"),
                ("node stop", "NodeStop", "Stop processes of a partition"),
                ("node restart", "NodeRestart", "Restart processes of a partition"),
                ("node tail", "NodeTail", "Follow the output of a process"),
            ],
        ),
        *_entries(
            "node.supervisor",
            [
                ("node supervisorctl", "NodeSupervisorctl", "Run supervisor's own client"),
            ],
        ),
        *_entries(
            "node.passes",
            [
                ("node promise", "NodePromise", "Run the promises of partitions now"),
                ("node prune", "NodePrune", "Remove software releases that nothing uses"),
            ],
        ),
    ),
    "Virtual machines": (
        *_entries(
            "vm.life",
            [
                ("vm snapshot", "VmSnapshot", "Keep the disks of a machine as they are now"),
                ("vm restore", "VmRestore", "Take a machine back to a snapshot or a backup"),
                ("vm backup", "VmBackup", "Back a machine up, now or as often as you like"),
                ("vm clone", "VmClone", "Order a machine that begins as another one was"),
            ],
        ),
        *_entries(
            "vm.connect",
            [
                ("vm ssh", "VmSsh", "Log in on a machine"),
                ("vm console", "VmConsole", "Show where a machine's screen is seen in a browser"),
            ],
        ),
    ),
    "Images of machines": (
        *_entries(
            "image.build",
            [
                ("image build", "ImageBuild", "Build an image that machines start from"),
                ("image add", "ImageAdd", "Add an image from a file or a URL"),
            ],
        ),
        *_entries(
            "image.show",
            [
                ("image list", "ImageList", "List the images of this computer"),
                ("image info", "ImageInfo", "Show an image: what it is, and who uses it"),
                ("image push", "ImagePush", "Leave an image in the cache for other nodes"),
                ("image remove", "ImageRemove", "Remove images that nothing uses"),
            ],
        ),
    ),
    "Cache": (
        *_entries(
            "cache.serve",
            [
                ("cache serve", "CacheServe", "Serve a cache of builds to other nodes"),
                ("cache token", "CacheToken", "Make a token with which builds are uploaded"),
            ],
        ),
        Entry("cache gc", "slap.cli.cache.gc:CacheGc", "Remove what nobody uses from a cache"),
        *_entries(
            "cache.keys",
            [
                ("cache keygen", "CacheKeygen", "Make a key that signs builds"),
                ("cache trust", "CacheTrust", "Take the builds that a key signs; list such keys"),
                ("cache revoke", "CacheRevoke", "Take nothing of a key any more"),
                ("cache successor", "CacheSuccessor", "Name the key that takes the place of another"),
            ],
        ),
        *_entries(
            "cache.show",
            [
                ("cache list", "CacheList", "List what the caches have"),
                ("cache info", "CacheInfo", "Show who built a release, and what is in it"),
                ("cache verify", "CacheVerify", "Fetch a release and check every byte of it"),
            ],
        ),
        *_entries("cache.push", [("cache push", "CachePush", "Leave a release that was built here in the cache")]),
        *_entries(
            "cachelookup.command",
            [
                ("cachelookup binary-sr", "BinaryRelease", "Ask a cache for builds of a software release"),
                ("cachelookup pypi", "Package", "Ask a cache for a Python package"),
                ("cachelookup url", "Source", "Ask a cache for a file by where it came from"),
            ],
        ),
    ),
    "Shell": (
        Entry("console", "slap.cli.console.command:Console", "Open a Python shell that talks to the master"),
        Entry("help", "slap.cli.base:Help", "Show this overview, or the help of a command"),
        Entry("complete", "slap.cli.console.complete:Complete", "Print the completion script for bash or fish"),
    ),
    PLUMBING: (
        *_entries(
            "vm.service",
            [
                ("vm run", "VmRun", "Run the machine of a partition (its service calls this)"),
                ("vm apply", "VmApply", "Change the machine of a partition as its parameters say"),
                ("vm keep", "VmKeep", "Make the backup of a machine that is due"),
                ("vm stop", "VmStop", "Shut the machine of a partition down"),
            ],
        ),
        *_entries("node.supervisor", [("node supervisord", "NodeSupervisord", "Start supervisord, unless it runs")]),
    ),
}

# The first page of `slapos help`: the commands that most people use, and the first words of the others.
COMMON = (
    "standalone up", "configure client", "supply", "request", "service list",
    "service info", "service logs", "service destroy", "computer list", "node status",
)  # fmt: skip
TOPICS = {
    "service": "your services", "vm": "virtual machines", "computer": "computers, their tokens",
    "image": "images of virtual machines", "configure": "configuration of this user", "cache": "caches of builds",
    "standalone": "a small cloud here", "cachelookup": "what a cache has",
    "proxy": "the single-machine master", "console": "a Python shell", "master": "a master for many machines",
    "node": "the node on this machine",
}  # fmt: skip


class CommandTable(CommandManager):
    """Commands from the table above, in place of a scan over the metadata of every installed package."""

    def _load_commands(self) -> None:
        self.commands = {entry.name: entry for entry in _all_entries()}

    def add_command(self, name: str, command_class: object) -> None:
        """What cliff brings along is in the table already, in our own form."""


def overview() -> str:
    """The first page of `slapos help`: the common commands and the topics, in at most 24 lines of 80 characters."""
    entries = {entry.name: entry for entry in _all_entries()}
    topics = [f"{name:<12}{what}" for name, what in TOPICS.items()]
    pairs = zip(topics[::2], topics[1::2], strict=True)
    return "\n".join(
        [
            "usage: slapos COMMAND [options]\n",
            "Common commands",
            *(_line(entries[name]) for name in COMMON),
            "\nTopics: slapos help TOPIC",
            *(f"  {left:<38} {right}" for left, right in pairs),
            "\nAll commands: slapos help --all. Options of one: slapos COMMAND --help\n",
        ]
    )


def list_commands() -> str:
    """All commands in their groups, one line each."""
    parts = ["usage: slapos COMMAND [options]\n"]
    parts += ["\n".join([title, *map(_line, entries), ""]) for title, entries in GROUPS.items()]
    parts.append("Options of a command: slapos COMMAND --help\n")
    return "\n".join(parts)


def list_topic(topic: str) -> str:
    """The commands that begin with this word, one line each; empty when there are none."""
    return "".join(f"{_line(entry)}\n" for entry in _all_entries() if entry.name.startswith(f"{topic} "))


def unknown_command(words: list[str]) -> str:
    """What to say of words that name no command, with the commands that may have been meant."""
    typed, meant = _typed(words), close_commands(words)
    if not meant:
        return f"slapos: {typed!r} is not a command. All commands: slapos help"
    rows = "\n".join(f"  slapos {name}" for name in meant)
    return f"slapos: {typed!r} is not a command. Did you mean:\n{rows}"


def close_commands(words: list[str]) -> list[str]:
    """All subcommands of a group that was named alone; else the most similar commands."""
    inside = _inside(words)
    if len(words) == 1 and inside:
        return inside
    return difflib.get_close_matches(_typed(words), _names(), n=3, cutoff=0.6) or inside


def _typed(words: list[str]) -> str:
    """The words that were meant to be a command, without its arguments."""
    may_have_two = words and difflib.get_close_matches(words[0], {name.split()[0] for name in _names() if " " in name})
    return " ".join(words[:2] if may_have_two else words[:1])


def _inside(words: list[str]) -> list[str]:
    return [name for name in _names() if words and name.startswith(words[0] + " ")]


def _names() -> list[str]:
    return [entry.name for entry in _all_entries()]


def _all_entries() -> list[Entry]:
    return [entry for group in GROUPS.values() for entry in group]


def _line(entry: Entry) -> str:
    return f"  {entry.name:<21}  {entry.summary}"
