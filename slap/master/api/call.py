"""What every route is given: who calls, and the services that answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from slap.master.access.auth import Caller, CallerKind, Guard
from slap.master.api.paged import PagedAnswers
from slap.master.api.peer import knock_of
from slap.master.database.store import Store
from slap.master.multimaster.requests import Orders
from slap.master.release.read import ReadRelease
from slap.master.release.reader import ReleaseReader
from slap.master.schema.validation import SchemaChecks
from slap.master.service.certificate import Certificates
from slap.master.service.impersonation import as_computer
from slap.master.service.registration import Registrations
from slap.master.service.report import ReportService
from slap.master.service.state import StateService
from slap.system.serving.connections import mark_known
from slap.system.serving.parked import ResumeQueue

_BEARER = "Bearer "
_CALLER_KEY = "slap.caller"


@dataclass(frozen=True)
class Services:
    """What lives as long as the process."""

    store: Store
    guard: Guard
    states: StateService
    reports: ReportService
    certificates: Certificates
    registrations: Registrations
    orders: Orders
    checks: SchemaChecks
    products: Mapping[str, str]  # software releases by short words
    releases: ReleaseReader
    resumed: ResumeQueue = field(default_factory=ResumeQueue)
    paged: PagedAnswers = field(default_factory=PagedAnswers)


@dataclass(frozen=True)
class Call:
    """Who calls, and what answers."""

    caller: Caller
    services: Services
    request: Request

    @property
    def store(self) -> Store:
        return self.services.store

    async def read_release(self, url: str) -> ReadRelease:
        """A release that the caller names. A program of the master's own user may name every place."""
        as_myself = self.services.guard.is_own_user(knock_of(self.request))
        return await self.services.releases.read(self.caller, url, as_myself)


async def caller_of(request: Request, services: Services, for_partition: bool = False) -> Caller:
    """Who sends a request; raises Unauthenticated for nobody that is known, Busy for a caller that holds too much."""
    found: Caller | None = request.scope.get(_CALLER_KEY)  # of this request, when its body was let through
    if found is not None and (for_partition or found.kind is not CallerKind.NEIGHBOUR):
        return found
    authorization = request.headers.get("authorization", "")
    if authorization.startswith(_BEARER):  # the busiest callers, past all that others may show instead
        caller = await services.guard.caller(authorization)
    else:
        caller = await services.guard.admit(knock_of(request), for_partition)
    mark_known(request.scope, caller.requester, caller.owner)
    request.scope[_CALLER_KEY] = caller
    return caller


async def call_of(request: Request) -> Call:
    """The call that a request is; raises Unauthenticated for one of nobody that is known."""
    services: Services = request.app.state.services
    return Call(await caller_of(request, services), services, request)


async def call_for_partition(request: Request) -> Call:
    """The same, where the caller may also be a program of a partition's Unix user on this machine, without credentials.

    Such a caller is of the kind NEIGHBOUR and may do nothing itself: `as_partition` makes it the instance in its
    partition. Only routes that name a computer and a partition, and call that first, take this.
    """
    services: Services = request.app.state.services
    return Call(await caller_of(request, services, for_partition=True), services, request)


async def as_node(call: Call, guid: str) -> Caller:
    """Who speaks for a computer: whoever has its credentials, or at slapproxy a node that needs none."""
    return await as_computer(call.store, call.caller, guid) if call.caller.is_local else call.caller


Called = Annotated[Call, Depends(call_of)]
CalledForPartition = Annotated[Call, Depends(call_for_partition)]
