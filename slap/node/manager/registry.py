"""The registry of managers."""

from collections.abc import Callable, Mapping

from slap.model.errors import InvalidInput
from slap.node.manager.base import Tools
from slap.node.manager.cpuset import Cpuset
from slap.node.manager.devperm import Devperm
from slap.node.manager.firewall import PartitionFirewall, is_wanted
from slap.node.manager.images import Images
from slap.node.manager.portredir import Portredir
from slap.node.manager.prerm import Prerm
from slap.node.manager.whitelistfirewall import WhitelistFirewall
from slap.node.partition.hooks import Manager, Managers

_FIREWALL = "firewall"

# By SlapOS's names, where it has them.
KNOWN: Mapping[str, Callable[[Tools], Manager]] = {
    "cpuset": Cpuset,
    "devperm": Devperm,
    _FIREWALL: PartitionFirewall,
    "images": Images,
    "portredir": Portredir,
    "prerm": Prerm,
    "whitelistfirewall": WhitelistFirewall,
}


def make_managers(tools: Tools) -> Managers:
    """The managers that slapos.cfg enables; raises InvalidInput for an unknown name."""
    names = dict.fromkeys(tools.config.manager_list.replace(",", " ").split())
    if is_wanted(tools.config):
        names[_FIREWALL] = None
    if unknown := [name for name in names if name not in KNOWN]:
        raise InvalidInput(
            f"There is no manager {', '.join(unknown)}.",
            f"There are: {', '.join(KNOWN)}.",
            "Mend manager_list in slapos.cfg.",
        )
    return Managers(KNOWN[name](tools) for name in names)
