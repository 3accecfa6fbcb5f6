"""What every route is given: who calls, and the services that answer."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from slap.master.access.auth import Caller, Guard
from slap.master.database.store import Store
from slap.master.report import ReportService
from slap.master.state import StateService


@dataclass(frozen=True)
class Services:
    """What lives as long as the process."""

    store: Store
    guard: Guard
    states: StateService
    reports: ReportService


@dataclass(frozen=True)
class Call:
    """Who calls, and what answers."""

    caller: Caller
    services: Services

    @property
    def store(self) -> Store:
        return self.services.store


async def call_of(request: Request) -> Call:
    """The call that a request is; raises Unauthenticated for one of nobody that is known."""
    services: Services = request.app.state.services
    return Call(await services.guard.caller(request.headers.get("authorization", "")), services)


Called = Annotated[Call, Depends(call_of)]
