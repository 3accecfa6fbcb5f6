"""Scheduled commands of partitions (etc/cron.d), run as the partition's user."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from slap.model.errors import SlapError
from slap.node.core.store import Store
from slap.node.partition.folder import PartitionFolder, Partitions
from slap.system.clock import Clock
from slap.system.lazy_import import Later
from slap.system.process import Command, Runner

croniter: Any = Later("croniter")  # a node whose partitions schedule nothing has no use for it
log = logging.getLogger(__name__)

_FIELDS = 5
_MAX_SCHEDULE_LENGTH = 500  # characters; parsed each minute, for all partitions
_LONGEST_RUN = 12 * 3600.0  # seconds
_SIDE_BY_SIDE = 16  # jobs of one partition


@dataclass(frozen=True)
class CronJob:
    """One crontab line: five fields of time (crontab(5)), then a command for /bin/sh."""

    partition: str
    name: str
    schedule: str
    command: str

    def is_due(self, minute: datetime) -> bool:
        return bool(croniter.croniter.match(self.schedule, minute))


def parse(partition: str, name: str, line: str) -> CronJob | None:
    """The job of a crontab line, or None."""
    fields = line.split(None, _FIELDS)
    schedule = " ".join(fields[:_FIELDS])
    if len(fields) <= _FIELDS or len(schedule) > _MAX_SCHEDULE_LENGTH or not croniter.croniter.is_valid(schedule):
        return None
    return CronJob(partition, name, schedule, fields[_FIELDS])


def jobs_of(store: Store) -> Iterable[CronJob]:
    """The jobs of all started partitions."""
    for record in store.instance_records():
        if record.was_ready:
            for name, line in record.installed.crons.items():
                if job := parse(record.partition, name, line):
                    yield job


class Cron:
    """Runs jobs each minute; one that still runs is not started again."""

    def __init__(self, store: Store, partitions: Partitions, runner: Runner, clock: Clock) -> None:
        self._store = store
        self._partitions = partitions
        self._runner = runner
        self._clock = clock
        self._running: set[CronJob] = set()
        self._stopped = threading.Event()

    def run(self) -> None:
        last = self._minute()
        while not self._stopped.wait(60 - self._clock.now().timestamp() % 60):
            if (minute := self._minute()) != last:  # it may be woken a little before the minute is over
                self.run_due(last := minute)

    def stop(self) -> None:
        self._stopped.set()

    def run_due(self, minute: datetime) -> None:
        for job in jobs_of(self._store):
            if job.is_due(minute) and self._may_run(job):
                self._running.add(job)
                threading.Thread(target=self._run_job, args=(job,), name="cron", daemon=True).start()

    def _minute(self) -> datetime:
        return self._clock.now().astimezone().replace(second=0, microsecond=0)

    def _may_run(self, job: CronJob) -> bool:
        beside = [each.name for each in list(self._running) if each.partition == job.partition]
        return job.name not in beside and len(beside) < _SIDE_BY_SIDE

    def _run_job(self, job: CronJob) -> None:
        """Run a job unless its partition was stopped since the minute began."""
        try:
            record = self._store.instance_record(job.partition)
            if record and record.was_ready:
                self._runner.run(_command(job, self._partitions.get(job.partition)))
        except (SlapError, OSError) as error:
            log.error("%s: cron job %s: %s", job.partition, job.name, error)
        finally:
            self._running.discard(job)


def _command(job: CronJob, folder: PartitionFolder) -> Command:
    """The command of a job: a shell line by definition, the tenant's own, run as the tenant."""
    place = folder.place()
    return Command(
        ("/bin/sh", "-c", job.command),
        cwd=place.folder,
        env=place.environment,
        log=folder.logs / "cron.log",
        timeout=_LONGEST_RUN,
        user=place.user,
        group=place.group,
        limits=place.limits,
    )
