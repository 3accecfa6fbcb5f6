"""What an operator decides about who may come in, and by what, and how much each may have."""

from pydantic import Field

from slap.master.database.quota import QuotaSettings
from slap.model.base import Frozen

_DAY = 24 * 3600.0


class AccessSettings(Frozen):
    """`own_tls` says that the master ends TLS itself, so that certificates of clients reach it; `own_authority` that
    its server certificate is signed by its own authority too, by which new nodes can tell it. Lifetimes are in seconds.
    """

    own_tls: bool = False
    own_authority: bool = False
    open_to_this_machine: bool = False  # callers on the loopback address need no credentials; see open_door.py
    administrator: str = "admin"  # who they are
    server_makes_keys: bool = False  # SlapOS's old registration, in which keys travel
    lifetime: float = Field(default=90 * _DAY, gt=0)  # of a certificate whose holder renews it
    lifetime_unrenewed: float = Field(default=3 * 365 * _DAY, gt=0)  # of one given to a node that never renews
    lifetime_partition: float = Field(default=30 * _DAY, gt=0)
    quotas: QuotaSettings = QuotaSettings()
    registration_lifetime: float = Field(default=24 * 3600, gt=0)  # of a one-time token
