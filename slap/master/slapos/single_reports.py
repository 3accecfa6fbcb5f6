"""What is said of one instance or one release over an old protocol, as the report of its computer that it is.

The old protocols say one thing at a time: a state, a failure, connection parameters. A report says all of an instance, so
the rest of it repeats what is known.
"""

from pydantic import TypeAdapter

from slap.master.access.auth import Caller, CallerKind
from slap.master.database.store import Store
from slap.master.database.tables import AnyRow
from slap.master.database.text import from_json
from slap.master.service import shared
from slap.master.service.impersonation import as_computer, no_instance, speaking_of
from slap.master.service.report import ReportService
from slap.master.slapos.served_revision import Served
from slap.model.errors import Conflict
from slap.model.node import InstanceReport, NodeReport, SupplyReport
from slap.model.serialisation import Serialisation, is_wrapped, unwrap
from slap.model.state import ReportedInstanceState, ReportedSupplyState
from slap.model.values import Parameters

# How often what is known may change while connection parameters are added to it.
_ATTEMPTS = 5
_PARAMETERS: TypeAdapter[Parameters] = TypeAdapter(Parameters)


class Spoken:
    """Reports on behalf of nodes that do not make them themselves."""

    def __init__(self, store: Store, reports: ReportService, served: Served) -> None:
        self._store = store
        self._reports = reports
        self._served = served

    async def state(self, caller: Caller, guid: str, state: ReportedInstanceState, message: str = "") -> None:
        """A node says what an instance is now, after it acted upon what it was last served."""
        row = await self._row(caller, guid)
        if row.host is not None:
            return  # a shared instance is what the one that serves it is
        revision = await self._served.revision(row.computer)
        await self._report(row, InstanceReport(guid=guid, revision=revision, state=state, message=message))

    async def connection(self, caller: Caller, guid: str, connection: Parameters) -> None:
        """An instance, or the one that serves it, publishes connection parameters; what it is remains as reported."""
        for _ in range(_ATTEMPTS):
            row = await self._row(caller, guid)
            if row.reported == ReportedInstanceState.DESTROYED:
                raise no_instance(guid)
            if from_json(row.connection) == connection:
                return
            await self._publish(row, connection)
        raise Conflict(f"{guid} is being changed by others at this moment.", "", "Publish again.")

    async def supply(
        self, caller: Caller, guid: str, url: str, state: ReportedSupplyState, message: str = "", log: str = ""
    ) -> None:
        """A node says what became of a release that it was supplied with."""
        computer = await as_computer(self._store, caller, guid)
        revision = await self._served.revision(computer.subject)
        report = SupplyReport(url=url, revision=revision, state=state, message=message, log=log)
        await self._reports.report(computer, computer.subject, NodeReport(supplies=(report,)))

    async def _row(self, caller: Caller, guid: str) -> AnyRow:
        return await self._store.read(lambda connection: speaking_of(connection, caller, guid))

    async def _publish(self, row: AnyRow, connection: Parameters) -> None:
        if row.host is None:
            await self._report(row, _repeated(row).model_copy(update={"connection": connection}))
        else:
            await shared.publish(self._store, _computer_of(row), row.guid, connection)

    async def _report(self, row: AnyRow, report: InstanceReport) -> None:
        await self._reports.report(_computer_of(row), row.computer, NodeReport(instances=(report,)))


def published(given: Parameters) -> tuple[Parameters, Serialisation]:
    """Connection parameters as an old protocol brings them, plain, and the form in which they came.

    Raises ValidationError for values that cannot be kept.
    """
    form = Serialisation.JSON if is_wrapped(given) else Serialisation.FLAT
    return _PARAMETERS.validate_python(unwrap(given)[0]), form


def may_report(sender: Caller, state: ReportedInstanceState) -> None:
    """Only a node says that an instance is gone: a tenant would free a partition that its programs still use."""
    if state is ReportedInstanceState.DESTROYED:
        sender.must_be(CallerKind.COMPUTER, CallerKind.USER)


def _computer_of(row: AnyRow) -> Caller:
    return Caller(CallerKind.COMPUTER, row.computer, row.owner)


def _repeated(row: AnyRow) -> InstanceReport:
    """What is known of an instance, as its node would say it again."""
    return InstanceReport(
        guid=row.guid,
        revision=row.reported_revision,
        state=row.reported or ReportedInstanceState.INSTANTIATING,
        message=row.message,
        promises=from_json(row.promises),
    )
