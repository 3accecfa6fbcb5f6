"""Quotas: when what a user has is counted, and when it is refused."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, event, insert

from slap.master.database.quota import Quota, Quotas, QuotaSettings
from slap.master.database.tables import computer, metadata
from slap.model.errors import QuotaExceeded


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def queries(connection: Connection) -> list[str]:
    found: list[str] = []
    event.listen(connection.engine, "before_cursor_execute", lambda *arguments: found.append(arguments[2]))
    return found


def add(connection: Connection, *names: str, owner: str = "eve") -> None:
    for name in names:
        connection.execute(insert(computer), {"guid": name, "owner": owner, "title": name})


def test_what_a_user_has_is_counted_once_in_a_while(connection: Connection, queries: list[str]) -> None:
    clock = Clock()
    quotas = Quotas(QuotaSettings(quota_computers=100), clock)
    for _ in range(50):
        quotas.take(connection, Quota.COMPUTERS, "eve")
    assert len(queries) == 1
    clock.now += 1000
    quotas.take(connection, Quota.COMPUTERS, "eve")
    assert len(queries) == 2


def test_nothing_is_refused_by_an_estimate(connection: Connection) -> None:
    quotas = Quotas(QuotaSettings(quota_computers=3), Clock())
    for _ in range(9):  # all of which failed after they were noted
        quotas.take(connection, Quota.COMPUTERS, "eve")


def test_what_is_too_much_is_refused_and_counted(connection: Connection, queries: list[str]) -> None:
    quotas = Quotas(QuotaSettings(quota_computers=3), Clock())
    add(connection, "one", "two", "three")
    queries.clear()
    for _ in range(5):
        with pytest.raises(QuotaExceeded, match="eve may have 3 computers") as error:
            quotas.take(connection, Quota.COMPUTERS, "eve")
    assert (error.value.http_status, error.value.details) == (403, "There are 3; nothing was changed.")
    assert "quota_computers" in error.value.resolution
    assert dict(quotas.refused) == {"quota_computers": 5}
    assert len(queries) == 1
    quotas.take(connection, Quota.COMPUTERS, "bob")


@pytest.mark.parametrize("settings", [{"quota_computers": 0}, {"quota_computers": 1, "quota_exempt": ["eve"]}])
def test_who_has_no_limit_is_not_even_counted(
    connection: Connection, queries: list[str], settings: dict[str, object]
) -> None:
    quotas = Quotas(QuotaSettings.model_validate(settings))
    for _ in range(5):
        quotas.take(connection, Quota.COMPUTERS, "eve")
    assert queries == []


@pytest.mark.parametrize("quota", list(Quota))
def test_counting_reads_no_table_as_a_whole(connection: Connection, quota: Quota, queries: list[str]) -> None:
    Quotas().take(connection, quota, "eve")
    counted = [*queries]
    for query in counted:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", ("eve",) * query.count("?")).all()
        assert all("SCAN" not in step.detail or "CONSTANT" in step.detail for step in steps), steps
