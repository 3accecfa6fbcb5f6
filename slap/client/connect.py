"""A master to talk to, over the newest protocol that it offers."""

from slap.client.credentials import Credentials
from slap.client.master import Master
from slap.system.transport import Transport


def connect(url: str, credentials: Credentials, transport: Transport | None = None) -> Master:
    """The master at `url`. Use it in one thread only."""
    return Master(url, credentials.token, transport)
