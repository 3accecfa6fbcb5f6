"""How much of a server one caller may hold: options of the sections [master] and [cache] of slapos.cfg.

Docs: docs/reference/configuration.md. With several worker processes each keeps its own count.
"""

import os
import resource

from pydantic import ByteSize, Field

from slap.model.base import Frozen
from slap.system.processes import allow_many_files

_KIB = 1 << 10
_MIB = 1 << 20
# Descriptors for everything but connections: databases, logs, files, child processes.
_RESERVED_DESCRIPTORS = 128


class ConnectionLimits(Frozen):
    """Limits on connections. A caller is *known* on a connection once a request there showed good credentials."""

    header_seconds: float = Field(default=10, gt=0)  # TLS handshake and headers, from the start of the connection
    header_bytes: ByteSize = Field(default=ByteSize(16 * _KIB), ge=1024)
    body_seconds: float = Field(default=10, gt=0)  # the window over which `body_rate` is measured
    body_rate: ByteSize = Field(default=ByteSize(4 * _KIB), ge=1)  # bytes a second, of bodies and of answers
    connections: int = Field(default=0, ge=0)  # 0: what the descriptor limit allows
    unknown_connections: int = Field(default=2000, ge=1)
    connections_per_address: int = Field(default=500, ge=1)  # of unknown callers
    connections_per_caller: int = Field(default=1000, ge=1)
    unsent_per_caller: ByteSize = Field(default=ByteSize(64 * _MIB), ge=_MIB)  # answers that are not taken


class BodyLimits(Frozen):
    """Limits on bodies of requests, in bytes."""

    unknown_body: ByteSize = Field(default=ByteSize(64 * _KIB), ge=1024)
    unknown_bodies: ByteSize = Field(default=ByteSize(8 * _MIB), ge=1024)  # of all unknown callers together
    request_body: ByteSize = Field(default=ByteSize(2 * _MIB), ge=1024)
    report_body: ByteSize = Field(default=ByteSize(8 * _MIB), ge=1024)  # what a computer sends of itself
    bodies_per_owner: ByteSize = Field(default=ByteSize(8 * _MIB), ge=1024)  # of a user and all that is hers
    bodies: ByteSize = Field(default=ByteSize(256 * _MIB), ge=1024)  # of all known callers together
    json_values: int = Field(default=200_000, ge=1000)  # in one document, and what separates them
    body_wait_seconds: float = Field(default=10, ge=0)  # for room in the two above


def raise_descriptor_limit() -> int:
    """Raise the descriptor limit of this process, and of workers that it starts, as far as the hard limit goes.

    Returns how many connections that allows.
    """
    allow_many_files(os.getpid())
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(soft - _RESERVED_DESCRIPTORS, soft // 2)
