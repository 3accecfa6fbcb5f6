"""What a partition closes of the network for itself, and to whom it opens its ports (firewall)."""

from collections.abc import Callable, Iterable

from slap.model.network.firewall import (
    EVERY_PORT,
    FIREWALL_FILE,
    Firewall,
    parse_destination,
    parse_network,
    parse_port,
)
from slap.recipes.common.partition import InstancePart, PartReader


class Closed(InstancePart):
    """slap:firewall. Options: master, partitions, internet, allow, visitors, visitors.PORT.

    Its file is left where it is when the part changes or goes: a run that fails half way must open nothing.
    """

    guide = "firewall"

    def read(self, options: PartReader) -> None:
        wish = {name: options.flag(name, True) for name in ("master", "partitions", "internet")}
        allow = _checked(options, "allow", parse_destination, "addresses or networks, with :PORT if need be")
        visitors = {port: _checked(options, name, parse_network, "networks") for port, name in _ports(options)}
        options.finish(self.guide)
        named = {port: networks for port, networks in visitors.items() if networks}
        self._text = Firewall.model_validate({**wish, "allow": allow, "visitors": named}).model_dump_json(indent=1)

    def install(self) -> list[str]:
        self.place(self.folder / FIREWALL_FILE, self._text)
        return []


def _ports(options: PartReader) -> Iterable[tuple[str, str]]:
    """Ports that have visitors of their own, and the options that say which."""
    yield EVERY_PORT, "visitors"
    for port in options.prefixed("visitors."):
        name = f"visitors.{port}"
        if options.parsed(name, port, parse_port, "visitors.PORT, with a port from 1 to 65535", 0):
            yield port, name


def _checked(options: PartReader, name: str, parse: Callable[[str], object], what: str) -> tuple[str, ...]:
    words = options.words(name)
    for word in words:
        options.parsed(name, word, parse, what, None)
    return words
