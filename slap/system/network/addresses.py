"""IP addresses as they go into rules, commands and socket calls."""

import ipaddress


def plain_address(text: object) -> str:
    """An IP address as it goes into rules and commands of ours; raises ValueError for all else.

    An IPv6 address may end in a zone, `%` and whatever its writer likes.
    """
    if not isinstance(text, str) or "%" in text:
        raise ValueError(f"{text!r:.100} is not a plain IP address")
    return str(ipaddress.ip_address(text))


def version_of(address: str) -> int:
    return ipaddress.ip_address(address).version


def bracketed(address: str) -> str:
    """An address beside a port."""
    return f"[{address}]" if ":" in address else address
