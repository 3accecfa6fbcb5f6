"""Whitelist firewall: a partition's user reaches the addresses of `.slapos-whitelist-firewall` and nothing else.

A JSON list of addresses. As in SlapOS the list is of IPv4, and IPv6 stays open; IPv6 is closed as well when the list names an
IPv6 address. The rules are nftables', found by the user of whoever sends: there is no way around them but another user.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any

from slap.model.errors import InvalidInput
from slap.node.manager.base import Hooks, Tools
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_list, unix_user
from slap.system.network.addresses import plain_address
from slap.system.network.nftables import Nftables

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
_TABLE = "slapos"
_REMOVE = """\
delete element inet slapos users {{ {user} }}
delete chain inet slapos {chain}
"""


def addresses_of(entries: Iterable[Any]) -> tuple[str, ...]:
    """The allowed addresses; raises InvalidInput for what is no address."""
    found = []
    for entry in entries:
        try:
            found.append(plain_address(entry))
        except ValueError as error:
            raise InvalidInput("The whitelist is wrong.", f"{entry!r:.100} is not an IP address.") from error
    return tuple(dict.fromkeys(found))


def rules(partition: str, user: int, addresses: Iterable[str]) -> str:
    """The nft script that lets a user reach some addresses only."""
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
    """The nft script that removes a partition; it creates missing chains first, to delete them."""
    chain = f"{partition}-whitelist"
    return _FRAME.format(chain=chain, user=user) + _REMOVE.format(chain=chain, user=user)


class WhitelistFirewall(Hooks):
    """Restricts a partition before it starts; a partition that cannot be restricted does not start."""

    request_file = ".slapos-whitelist-firewall"

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._nft = Nftables(tools.runner)

    def configured(self, folder: PartitionFolder) -> None:
        """Apply the rules at each check, since others may have flushed all rules."""
        entries = read_list(folder, self.request_file)
        if entries is not None:
            self._nft.apply(rules(folder.name, unix_user(folder), addresses_of(entries)))
        elif folder.account.user is not None and self._is_closed(folder):
            self._nft.apply(removal(folder.name, folder.account.user))

    def emptied(self, folder: PartitionFolder) -> None:
        if folder.account.user is not None and self._is_closed(folder):
            self._nft.apply(removal(folder.name, folder.account.user))

    def _is_closed(self, folder: PartitionFolder) -> bool:
        return self._nft.chain(_TABLE, f"{folder.name}-whitelist") != ""
