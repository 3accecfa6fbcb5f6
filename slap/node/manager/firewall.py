"""Partition firewall: what the user of each partition may reach, and who may reach a partition that names its visitors.

In force by default where it can be: users of their own, root, nftables. What a partition closes beyond that it says in
`.slapos-firewall`, see slap/model/network/firewall.py. The rules are the kernel's, so they outlive the agent; each look
makes sure that they are there, by one small question to the kernel now and then for all partitions of the node.
"""

import logging
import threading

from pydantic import ValidationError

from slap.model.errors import CommandFailed, InvalidInput, NotFound
from slap.model.network.firewall import FIREWALL_FILE, OPEN, Firewall
from slap.node.core.config import NodeConfig
from slap.node.manager.base import Hooks, Tools
from slap.node.manager.firewall_context import Neighbourhood, Resolve, resolve_host, table_of
from slap.node.manager.firewall_rules import (
    STAMP,
    FirewallContext,
    Frame,
    GuardedPartition,
    chains,
    frame,
    removal,
    rules,
)
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_request, unix_user
from slap.system import environment
from slap.system.network.nftables import Nftables

log = logging.getLogger(__name__)

_GLANCE = 20.0  # seconds between two looks at whether somebody flushed everything
_EXAMINATION = 600.0  # the same for rules alone; this takes longer the more there are


def is_wanted(config: NodeConfig) -> bool:
    """Whether this node has a partition firewall; `auto` means where it is possible."""
    if config.partition_firewall != "auto":
        return config.partition_firewall == "true"
    return config.format.alter_user and environment.is_root() and environment.find_program("nft") != ""


def read_firewall_request(folder: PartitionFolder) -> Firewall:
    """The firewall request of a partition. Raises InvalidInput rather than leave something open."""
    text = read_request(folder, FIREWALL_FILE)
    if text is None:
        return OPEN
    try:
        return Firewall.model_validate_json(text)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()]
        raise InvalidInput(f"{folder.name}: {FIREWALL_FILE} is wrong.", "\n".join(lines[:5])) from error


class PartitionFirewall(Hooks):
    """Applies rules; remembers what it applied, so that a check without changes starts no program."""

    request_file = FIREWALL_FILE

    def __init__(self, tools: Tools, resolve: Resolve = resolve_host) -> None:
        super().__init__(tools)
        self._nft = Nftables(tools.runner)
        self._table = table_of(tools.config)
        self._neighbourhood = Neighbourhood(tools.config, tools.clock, resolve)
        self._lock = threading.Lock()
        self._seen: FirewallContext | None = None
        self._frame = Frame("", "")
        self._applied: dict[str, str] = {}
        self._glanced = self._examined = float("-inf")
        self._works: bool | None = None

    def guards(self) -> bool:
        """Whether the kernel accepts the rules. That it does not is an error only where they were requested."""
        with self._lock:
            if self._works is None:
                self._works = self._try()
            return self._works

    def prepared(self, folder: PartitionFolder) -> None:
        self.configured(folder)

    def configured(self, folder: PartitionFolder) -> None:
        user, around = unix_user(folder), self._neighbourhood.surroundings()
        if not self.guards():
            return
        request = read_firewall_request(folder)
        neighbours = self._neighbourhood.users() if request.visitors else {}
        script = rules(self._table, GuardedPartition(folder.name, user, folder.addresses, request, neighbours))
        with self._lock:
            is_new = self._applied.get(folder.name) != script
            self._applied[folder.name] = script
            try:
                if is_new or around is not self._seen or not self._is_there():
                    self._say(around, script if is_new else "")
            except CommandFailed:
                del self._applied[folder.name]
                raise

    def emptied(self, folder: PartitionFolder) -> None:
        if folder.account.user is None or not self.guards():
            return
        guarded = GuardedPartition(folder.name, folder.account.user, folder.addresses, OPEN, {})
        around = self._neighbourhood.surroundings()
        with self._lock:
            self._applied.pop(folder.name, None)
            self._say(around, removal(self._table, guarded))
            # The chains are empty now. One that rules of an earlier format still jump to stays, and does nothing.
            for name in chains(guarded):
                try:
                    self._nft.apply(f"delete chain inet {self._table} {name}\n")
                except CommandFailed as error:
                    log.info("%s", error)

    def _try(self) -> bool:
        try:
            self._renew(self._neighbourhood.surroundings())
        except (CommandFailed, NotFound) as error:
            if self.tools.config.partition_firewall == "true":
                raise
            log.warning("The partition firewall is not in force here: %s", error)
            return False
        return True

    def _say(self, around: FirewallContext, script: str) -> None:
        """Apply a script, with all that it depends on where that changed."""
        if script and around is self._seen and self._is_there():
            try:
                self._nft.apply(script)
                return
            except CommandFailed as error:
                log.info("The rules are said anew: %s", error)
        self._renew(around, script)

    def _renew(self, around: FirewallContext, script: str = "") -> None:
        """Apply the rules of all partitions again: whoever flushed the rules removed all of them."""
        found = frame(around)
        self._nft.apply(found.text + "".join(self._applied.values()) + script)
        self._seen, self._frame = around, found
        self._glanced = self._examined = self.tools.clock.monotonic()

    def _is_there(self) -> bool:
        now = self.tools.clock.monotonic()
        if now - self._glanced < _GLANCE:
            return True
        self._glanced = now
        if now - self._examined < _EXAMINATION:
            return self._frame.stamp in self._nft.set(self._table, STAMP)
        self._examined = now
        return self._frame.stamp in self._nft.chain(self._table, STAMP)
