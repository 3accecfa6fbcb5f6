"""Stands in for slapos.grid.promise.generic where a release lacks it: the classes that promise plugins are made of.

The names are those that plugins use. A promise senses, which is logged; from the log it says whether it passed (`test`),
and whether there is a trouble to act upon (`anomaly`). Only the standard library is used here.
"""

# ruff: noqa: N802 (the names are SlapOS's)

import logging
import os
import random
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, TypeVar

PROMISE_STATE_FOLDER_NAME = ".slapgrid/promise"
PROMISE_RESULT_FOLDER_NAME = ".slapgrid/promise/result"
PROMISE_LOG_FOLDER_NAME = ".slapgrid/promise/log"
PROMISE_PARAMETER_NAME = "extra_config_dict"

_DATE = "%Y-%m-%d %H:%M:%S"
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) - (\w+) - (\d+-\d{3}) - (.*)")
_BAD = ("ERROR", "CRITICAL")
_LONGEST_MESSAGE = 5000
# Of a log, so much is read: results are asked for a few at a time.
_TAIL = 1 << 18

Entry = dict[str, Any]
Result = TypeVar("Result")


class BaseResult:
    """What a promise found, when."""

    kind = "Base Result"

    def __init__(self, problem: bool = False, message: str | None = None, date: datetime | None = None) -> None:
        too_long = message is not None and len(message) > _LONGEST_MESSAGE
        self.message = f"...{message[-_LONGEST_MESSAGE:]}" if message and too_long else message
        self.date = date or datetime.utcnow()
        self._problem = problem

    def hasFailed(self) -> bool:
        return self._problem

    @classmethod
    def type(cls) -> str:
        return cls.kind


class TestResult(BaseResult):
    kind = "Test Result"


class AnomalyResult(BaseResult):
    kind = "Anomaly Result"


class EmptyResult(BaseResult):
    kind = "Empty Result"


class PromiseQueueResult:
    """A result with the promise that it is of."""

    def __init__(
        self,
        path: str | None = None,
        name: str | None = None,
        title: str | None = None,
        item: BaseResult | None = None,
        execution_time: float = 0,
    ) -> None:
        self.path = path
        self.name = name
        self.title = title
        self.item = item or EmptyResult()
        self.execution_time = execution_time

    def serialize(self) -> dict[str, Any]:
        result = {
            "type": self.item.type(),
            "failed": self.item.hasFailed(),
            "date": self.item.date.strftime("%Y-%m-%dT%H:%M:%S+0000"),
            "message": self.item.message,
        }
        about = {"title": self.title, "name": self.name, "path": self.path, "execution-time": self.execution_time}
        return {**about, "result": result}


class GenericPromise(ABC):
    """The base of all plugins: configuration, log, and a judgement from the last entries of the log."""

    def __init__(self, config: dict[str, Any]) -> None:
        for key in ("queue", "name", "path", "partition-folder"):
            if config.get(key) is None:
                raise ValueError(f"The configuration of a promise needs {key!r}.")
        self.__config = config
        self.__queue = config.pop("queue")
        self.__name = str(config.pop("name"))
        self.__path = str(config.pop("path"))
        self.__partition = str(config.pop("partition-folder"))
        self.__log_folder: str | None = config.pop("log-folder", None)
        self.__title: str = os.path.splitext(self.__name)[0]
        self.__kept: list[str] = []
        self.__tested = self.__anomaly_detected = True
        self.__may_bang = True
        self.setPeriodicity(config.pop("periodicity", 2))
        self.logger = self.__logger(logging.DEBUG if config.pop("debug", True) else logging.INFO)

    def getConfig(self, key: str, default: Any = None) -> Any:
        return self.__config.get(key, default)

    def setConfig(self, key: str, value: Any) -> None:
        self.__config[key] = value

    def getTitle(self) -> str:
        return self.__title

    def getName(self) -> str:
        return self.__name

    def getLogFolder(self) -> str | None:
        return self.__log_folder

    def getLogFile(self) -> str | None:
        return os.path.join(self.__log_folder, f"{self.__title}.log") if self.__log_folder else None

    def getPartitionFolder(self) -> str:
        return self.__partition

    def getPromiseFile(self) -> str:
        return self.__path

    def setPeriodicity(self, minute: float) -> None:
        if minute <= 0:
            raise ValueError("A promise cannot be run more often than always.")
        self.__periodicity = minute

    def getPeriodicity(self) -> float:
        return self.__periodicity

    def setTestLess(self) -> None:
        self.__tested = False

    def isTested(self) -> bool:
        return self.__tested

    def setAnomalyLess(self) -> None:
        self.__anomaly_detected = False

    def isAnomalyDetected(self) -> bool:
        return self.__anomaly_detected

    def allowBang(self, allow: bool = True) -> None:
        """Kept for plugins that say it; to bang takes slapos.slap, which a release without these classes lacks."""
        self.__may_bang = allow

    @abstractmethod
    def sense(self) -> None:
        """Look, and log what was seen: an error where it is not as it shall be."""

    def test(self) -> BaseResult:
        return self._test()

    def anomaly(self) -> BaseResult:
        return self._anomaly()

    def _test(self, result_count: int = 1, failure_amount: int = 1, latest_minute: int = 0) -> BaseResult:
        return TestResult(*self.__judge(result_count, failure_amount, latest_minute))

    def _anomaly(self, result_count: int = 1, failure_amount: int = 1, latest_minute: int = 0) -> BaseResult:
        return AnomalyResult(*self.__judge(result_count, failure_amount, latest_minute))

    def run(self, check_anomaly: bool = False, can_bang: bool = True) -> None:
        """Sense and judge, in one of the two ways; the result goes to the queue."""
        result: BaseResult = EmptyResult()
        kind = AnomalyResult if check_anomaly else TestResult
        if not (self.__tested or self.__anomaly_detected):
            result = kind(True, "A promise cannot have both test and anomaly switched off.")
        elif self.__anomaly_detected if check_anomaly else self.__tested:
            result = self.__sensed(check_anomaly, kind)
        self.__queue.put_nowait(PromiseQueueResult(self.__path, self.__name, self.__title, result))

    def getLastPromiseResultList(
        self, latest_minute: int = 0, result_count: int = 1, only_failure: bool = False
    ) -> list[list[Entry]]:
        """The entries of the last runs, a list for each, the newest first."""
        oldest = datetime.now() - timedelta(minutes=latest_minute) if latest_minute > 0 else datetime.min
        runs = [[each for each in run if each["date"] >= oldest] for run in _runs(self.__lines())]
        newest = [run for run in reversed(runs) if run][:result_count]
        kept = [[each for each in run if not only_failure or each["status"] in _BAD] for run in newest]
        return [run for run in kept if run]

    def __sensed(self, check_anomaly: bool, kind: type[BaseResult]) -> BaseResult:
        _, trouble = _attempt(self.sense)
        if trouble:
            self.logger.error(str(trouble))
        result, trouble = _attempt(self.anomaly if check_anomaly else self.test)
        return result or kind(True, str(trouble or "The promise gave no result."))

    def __judge(self, result_count: int, failure_amount: int, latest_minute: int) -> tuple[bool, str]:
        """Failing takes that the last run failed, and so many of the last ones with it."""
        runs = self.getLastPromiseResultList(latest_minute, result_count)
        if not runs:
            return False, "No result found!"
        bad = [any(each["status"] in _BAD for each in run) for run in runs]
        return bad[0] and sum(bad) >= failure_amount, "\n".join(each["message"] for each in runs[0]).strip()

    def __logger(self, level: int) -> logging.Logger:
        logger = logging.getLogger(self.__name)
        for old in list(logger.handlers):
            logger.removeHandler(old)
        if self.__log_folder:
            os.makedirs(self.__log_folder, exist_ok=True)
            handler: logging.Handler = logging.FileHandler(self.getLogFile() or "")
        else:
            handler = _Kept(self.__kept)
        number = f"{int(time.time())}-{random.randint(100, 999)}"
        handler.setFormatter(logging.Formatter(f"%(asctime)s - %(levelname)s - {number} - %(message)s", _DATE))
        logger.setLevel(level)
        logger.addHandler(handler)
        return logger

    def __lines(self) -> Sequence[str]:
        path = self.getLogFile()
        if not path or not os.path.exists(path):
            return "\n".join(self.__kept).splitlines()
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _TAIL))
            return file.read().decode(errors="replace").splitlines()


def _attempt(act: Callable[[], Result]) -> tuple[Result | None, Exception | None]:
    """What came of it, or what a plugin raised: that is what it found."""
    try:
        return act(), None
    except Exception as error:  # noqa: BLE001 (plugins are anybody's code)
        trouble = error
        return None, trouble


class _Kept(logging.Handler):
    """A log in memory."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


def _runs(lines: Iterable[str]) -> list[list[Entry]]:
    """The entries of a log, those of each run together."""
    entries: list[Entry] = []
    for line in lines:
        if found := _LINE.fullmatch(line):
            date = datetime.strptime(found[1], _DATE)
            entries.append({"date": date, "status": found[2], "run": found[3], "message": found[4].strip()})
        elif entries:  # a message of several lines
            entries[-1]["message"] += f"\n{line}"
    together = groupby(entries, key=lambda each: each["run"])
    return [[{key: each[key] for key in ("date", "status", "message")} for each in run] for _, run in together]
