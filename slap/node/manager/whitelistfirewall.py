"""Whitelist firewall: a partition's user reaches the addresses of `.slapos-whitelist-firewall` and nothing else.

A JSON list of addresses. As in SlapOS the list is of IPv4, and IPv6 stays open; IPv6 is closed as well when the list names an
IPv6 address. The rules are nftables', found by the user of whoever sends: there is no way around them but another user.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from slap.model.errors import InvalidInput
from slap.node.manager.base import Hooks
from slap.node.manager.wish import read_list
from slap.node.partition.folder import PartitionFolder
from slap.system import environment
from slap.system.network.addresses import plain_address
from slap.system.process import Command

# Each script is one transaction of the kernel: rules are replaced without a moment between the old and the new.
_FRAME = """\
add table inet slapos
add map inet slapos users {{ type uid : verdict; }}
add chain inet slapos output {{ type filter hook output priority filter; policy accept; }}
flush chain inet slapos output
add rule inet slapos output meta skuid vmap @users
add chain inet slapos {chain}
flush chain inet slapos {chain}
add element inet slapos users {{ {user} : jump {chain} }}
"""
_ALLOW = "add rule inet slapos {chain} {family} daddr {{ {addresses} }} accept\n"
_REJECT = "add rule inet slapos {chain} meta nfproto {protocol} reject\n"
_ENV = {"PATH": environment.CLEAN_PATH}
_REMOVE = """\
delete element inet slapos users {{ {user} }}
delete chain inet slapos {chain}
"""


def addresses_of(entries: Iterable[Any]) -> tuple[str, ...]:
    """Raises InvalidInput for what is no address: to leave it out would be to reject it without a word."""
    found = []
    for entry in entries:
        try:
            found.append(plain_address(entry))
        except ValueError as error:
            raise InvalidInput("The whitelist is wrong.", f"{entry!r:.100} is not an IP address.") from error
    return tuple(dict.fromkeys(found))


def rules(partition: str, user: int, addresses: Iterable[str]) -> str:
    """nft's script that lets a user reach some addresses only."""
    chain = f"{partition}-whitelist"
    known = [ipaddress.ip_address(address) for address in addresses]
    text = _FRAME.format(chain=chain, user=user)
    for version, family, protocol in ((4, "ip", "ipv4"), (6, "ip6", "ipv6")):
        own = [str(address) for address in known if address.version == version]
        if own:
            text += _ALLOW.format(chain=chain, family=family, addresses=", ".join(own))
        if own or version == 4:
            text += _REJECT.format(chain=chain, protocol=protocol)
    return text


def removal(partition: str, user: int) -> str:
    """nft's script that forgets a partition; what is not there is made first, for only that can be deleted."""
    chain = f"{partition}-whitelist"
    return _FRAME.format(chain=chain, user=user) + _REMOVE.format(chain=chain, user=user)


class WhitelistFirewall(Hooks):
    """What cannot be closed is not started."""

    wish = ".slapos-whitelist-firewall"

    def configured(self, folder: PartitionFolder) -> None:
        """Said anew with each look: others may have flushed all rules meanwhile."""
        entries = read_list(folder, self.wish)
        if entries is not None:
            self._tell(rules(folder.name, self._user(folder), addresses_of(entries)))
        elif folder.account.user is not None and self._is_closed(folder):
            self._tell(removal(folder.name, folder.account.user))

    def emptied(self, folder: PartitionFolder) -> None:
        if folder.account.user is not None and self._is_closed(folder):
            self._tell(removal(folder.name, folder.account.user))

    def _is_closed(self, folder: PartitionFolder) -> bool:
        nft = environment.find_program("nft")
        argv = (nft, "list", "chain", "inet", "slapos", f"{folder.name}-whitelist")
        return nft != "" and self.tools.runner.run(Command(argv, env=_ENV)).status == 0

    def _tell(self, script: str) -> None:
        argv = (environment.program("nft", "nftables"), "-f", "-")
        self.tools.runner.run(Command(argv, env=_ENV, stdin=script, timeout=30)).check()

    def _user(self, folder: PartitionFolder) -> int:
        if folder.account.user is None or not environment.is_root():
            raise InvalidInput(
                f"{folder.name} asks for a firewall, which this node cannot give it.",
                "Rules are about Unix users, and this node runs all partitions as one.",
                "Set alter_user = true in slapos.cfg and run the node as root.",
            )
        return folder.account.user
