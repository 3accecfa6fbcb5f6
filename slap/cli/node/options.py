"""SlapOS's options of the passes: each is accepted; what one means here, or why it means nothing, is said in this table."""

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slap.cli.output import say
from slap.model.errors import UsageError
from slap.node.core.config import NodeConfig
from slap.node.passes import PassRuns
from slap.system import files
from slap.system.processes import is_alive


@dataclass(frozen=True)
class Option:
    """`field` of the node's configuration is replaced by the option; without one, `instead` says what to know of it."""

    name: str
    help: str
    field: str = ""
    instead: str = ""
    kind: type = str

    @property
    def key(self) -> str:
        return self.name.removeprefix("--").replace("-", "_")


_BUILT_IN = "buildout is a part of the node, run in a process that is kept warm."
_SOCKET = (
    "supervisord's files lie under the node's root; instance_root/etc and instance_root/sv.sock are links to them."
)
_TOKEN = "the node shows what slapos.cfg names."
_CACHE = "signature-private-key-file in the section [networkcache] of slapos.cfg names the key."

PASS_OPTIONS = (
    Option("--instance-root", "where partitions are", field="instance_root", kind=Path),
    Option("--software-root", "where releases are", field="software_root", kind=Path),
    Option("--master-url", "the master", field="master_url"),
    Option("--computer-id", "this computer", field="computer_id"),
    Option("--supervisord-socket", "accepted for SlapOS", instead=_SOCKET),
    Option("--supervisord-configuration-path", "accepted for SlapOS", instead=_SOCKET),
    Option("--buildout", "accepted for SlapOS", instead=_BUILT_IN),
    Option("--key_file", "the key of this computer's certificate", field="key_file", instead=_TOKEN),
    Option("--cert_file", "the certificate of this computer", field="cert_file", instead=_TOKEN),
    Option("--signature_private_key_file", "accepted for SlapOS", instead=_CACHE),
    Option("--master_ca_file", "by which the master is recognised", field="master_ca_file", instead=_TOKEN),
    Option("--certificate_repository_path", "accepted for SlapOS", instead="partitions have tokens of their own."),
    Option("--partition-timeout", "longest buildout run of a partition", field="instance_timeout", kind=int),
    Option("--promise-timeout", "longest run of a promise", field="promise_timeout", kind=int),
    Option("--maximal_delay", "accepted for SlapOS", instead="no pass waits at random: orders come by long poll."),
)
_SECONDS = {"--partition-timeout", "--promise-timeout"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """What all passes have in common."""
    for option in PASS_OPTIONS:
        kind = seconds if option.name in _SECONDS else option.kind
        parser.add_argument(option.name, type=kind, help=option.help, metavar="S" if kind is seconds else None)
    parser.add_argument(
        "--pidfile", help="write the process id there while it runs, and refuse to run twice", type=Path
    )
    parser.add_argument("--maximum-periodicity", type=seconds, metavar="S", help="instantiate again what is older")
    parser.add_argument("--now", action="store_true", help="at once, as always")


def seconds(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return int(text)


def configured(config: NodeConfig, args: argparse.Namespace, folder: Path) -> NodeConfig:
    """The configuration with what the command line says differently."""
    update: dict[str, Any] = {}
    for option in PASS_OPTIONS:
        value = getattr(args, option.key)
        if value is not None and option.field in NodeConfig.model_fields:
            update[option.field] = folder / value if option.kind is Path else value
    return config.model_copy(update=update)


def remarks(args: argparse.Namespace) -> Iterator[str]:
    """A line for each option that means nothing here."""
    for option in PASS_OPTIONS:
        if getattr(args, option.key) is not None and option.field not in NodeConfig.model_fields:
            yield f"{option.name} changes nothing here: {option.instead}"
    if getattr(args, "buildout_debug", False):
        yield "--buildout-debug changes nothing here: a build has no terminal; its log has the whole traceback."


def explain(args: argparse.Namespace) -> None:
    for line in remarks(args):
        say(line)


def names(given: Iterable[str]) -> frozenset[str]:
    """`--only a,b --only c`, as SlapOS and as we write it; raises UsageError when nothing is named by it."""
    found = frozenset(name.strip() for text in given for name in text.split(",") if name.strip())
    if not found and any(True for _ in given):
        raise UsageError("--only names nothing.", resolution="slapos computer info shows what there is.")
    return found


@contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """A file with our process id while the block runs; raises PassRuns while that of another is in it."""
    if path is None:
        yield
        return
    former = files.read_or(path, "").strip()
    if former.isdecimal() and int(former) != os.getpid() and _is_slapos(int(former)):
        raise PassRuns(f"This runs already, as process {former}.", f"{path} says so.")
    files.write(path, f"{os.getpid()}\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_slapos(pid: int) -> bool:
    """A number may be another program's by now."""
    return is_alive(pid) and "slapos" in files.read_or(Path(f"/proc/{pid}/cmdline"), "")
