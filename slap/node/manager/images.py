"""Images for machines: a partition names them in `.slapos-images`, and the node fetches them."""

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from slap.model.errors import InvalidInput
from slap.model.network.firewall import Network, parse_network
from slap.model.vm.image import WISH_FILE, ImageEntry
from slap.node.cache.tools import CacheTools
from slap.node.core.config import NodeConfig
from slap.node.image.fetch import Fetcher
from slap.node.image.queue import ImageQueue
from slap.node.image.store import ImageStore
from slap.node.manager.base import Hooks, Tools
from slap.node.partition.folder import PartitionFolder
from slap.node.partition.request_files import read_list
from slap.system.fetch import Sessions
from slap.system.lazy_import import Later

if TYPE_CHECKING:
    from slap.system.network import address_policy
else:  # the HTTP library is large, and most partitions ask for no image
    address_policy = Later("slap.system.network.address_policy")

_ENTRIES = TypeAdapter(tuple[ImageEntry, ...])
_MOST = 16
_ALLOW = "The computer's operator can allow it: `allow = NETWORK` in section [manager:images] of slapos.cfg."


class Images(Hooks):
    """Requests images in the background; a partition reads their status from the image store."""

    request_file = WISH_FILE

    def __init__(self, tools: Tools, desk: ImageQueue | None = None) -> None:
        super().__init__(tools)
        self._desk = desk or desk_of(tools)

    def configured(self, folder: PartitionFolder) -> None:
        asked = read_list(folder, self.request_file) or []
        self._desk.want(folder.name, entries_of(asked, folder.name))

    def emptied(self, folder: PartitionFolder) -> None:
        self._desk.leave(folder.name)


def desk_of(tools: Tools) -> ImageQueue:
    config = tools.config
    sessions = sessions_of(config)
    fetcher = Fetcher(ImageStore(config.images), CacheTools(config, tools.clock), tools.runner, sessions)
    return ImageQueue(fetcher, tools.clock)


def sessions_of(config: NodeConfig) -> Sessions:
    """How images are fetched that partitions name. Without users of their own all partitions are one person's, who
    reaches from here what this computer reaches anyhow. Raises InvalidInput for what slapos.cfg says wrongly.
    """
    proxy = config.managers.get("images", {}).get("proxy", "")
    is_ours = not config.format.alter_user
    _allowed_networks(config)  # a mistake is told when the node starts, not when an image is asked for
    return lambda: address_policy.open_session(address_policy_of(config), proxy=proxy, as_myself=is_ours)


def address_policy_of(config: NodeConfig) -> "address_policy.AddressPolicy":
    """Where images may come from that partitions name; raises InvalidInput for what slapos.cfg says wrongly."""
    allowed = _allowed_networks(config)
    default = () if config.format.alter_user else address_policy.EVERYWHERE
    return address_policy.AddressPolicy(default if allowed is None else allowed, _ALLOW)


def _allowed_networks(config: NodeConfig) -> tuple[Network, ...] | None:
    """What the operator allows; None where nothing is said about it."""
    text = config.managers.get("images", {}).get("allow")
    try:
        return tuple(map(parse_network, text.split())) if text is not None else None
    except ValueError as error:
        raise InvalidInput("allow of [manager:images] is wrong.", str(error), "Mend it in slapos.cfg.") from error


def entries_of(asked: list[Any], partition: str) -> tuple[ImageEntry, ...]:
    """The requested images; raises InvalidInput unless they are a short list without local files."""
    try:
        entries = _ENTRIES.validate_python(asked)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInput(f"{partition}: {WISH_FILE} is wrong.", f"{where}: {first['msg']}") from error
    if len(entries) > _MOST:
        raise InvalidInput(f"{partition} asks for {len(entries)} images; {_MOST} at most are fetched.")
    if local := [entry.url for entry in entries if entry.url.startswith("file:")]:
        raise InvalidInput(
            f"{partition} asks for a file of this computer.", f"{', '.join(local)}.",
            "Add it to the computer's images, and order it by name: slapos image add FILE --name NAME",
        )  # fmt: skip
    return entries
