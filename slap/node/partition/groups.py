"""Groups of supervised processes that managers keep beside a partition's own, and whose they are."""

FORWARDERS = "-socat"
FAREWELLS = "-prerm"


def partition_of(group: str) -> str:
    """The partition that a group of supervised processes belongs to."""
    return group.removesuffix(FORWARDERS).removesuffix(FAREWELLS)
