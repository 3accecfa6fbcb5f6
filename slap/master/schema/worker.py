"""A process that checks parameters against schemas of strangers, and may be killed at any moment.

Run by the master as `python -m slap.master.schema.worker DESCRIPTOR BYTES SECONDS`: with at most BYTES more memory
than it has at its start, and about SECONDS of CPU time for a job. It reads jobs from that socket and writes verdicts to it,
a JSON document a line. It ends when the other end is closed, and with the master.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import sys
from collections import OrderedDict
from typing import Any

from jsonschema_rs import Validator

from slap.master.schema.validator import UnusableSchema, compile_schema, describe_errors

_PR_SET_PDEATHSIG = 1  # prctl(2)
_MOST_KEPT = 32
_LONGEST_KEPT = 64 * 1024  # characters of a schema
_KEPT_PART = 5  # of the memory that a check may take, so much is kept between checks


class Validators:
    """The validators of the schemas that were used last, so that a schema is compiled once while it is in use."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Validator] = OrderedDict()

    def get(self, schema: str) -> Validator:
        found = self._kept.pop(schema, None) or compile_schema(json.loads(schema))
        if len(schema) <= _LONGEST_KEPT:
            self._kept[schema] = found
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def __len__(self) -> int:
        return len(self._kept)

    def clear(self) -> None:
        self._kept.clear()


class Memory:
    """The memory of this process, which it gives back when it grew: idle workers are a part of what the master takes."""

    def __init__(self, headroom: int) -> None:
        self._libc = ctypes.CDLL(None)
        self._most = _resident_bytes() + headroom // _KEPT_PART

    def shrink(self, validators: Validators) -> bool:
        """Forget the validators if there is too much; whether that was so."""
        if _resident_bytes() <= self._most:
            return False
        validators.clear()
        self._libc.malloc_trim(0)
        return True


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def answer(validators: Validators, job: bytes) -> bytes:
    """The line that answers a job: what is wrong with its schema, or what that says against its parameters, if any."""
    return json.dumps(_verdict(validators, *json.loads(job))).encode() + b"\n"


def _verdict(validators: Validators, schema: str, parameters: dict[str, Any] | None) -> dict[str, Any]:
    try:
        validator = validators.get(schema)
        return {"lines": [] if parameters is None else describe_errors(validator, parameters)}
    except UnusableSchema as error:
        return {"unusable": str(error)}
    except (RecursionError, ValueError):  # what JSON may say and the validator cannot hold
        return {"lines": ["$: This is nested too deeply, or has a number that is too large."]}


def _limit_memory(headroom: int) -> None:
    """From now on no more than `headroom` bytes are added. A program that fails leaves no core."""
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    most = pages * resource.getpagesize() + headroom
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: int) -> None:
    """Kill this process when it takes more CPU time from now on: for when the master is not there to do that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + seconds + 1, resource.RLIM_INFINITY))


def main() -> None:
    descriptor, headroom, seconds = map(int, sys.argv[1:4])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C in a terminal is for the master, which ends this
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    validators = Validators()
    with socket.socket(fileno=descriptor) as channel, channel.makefile("rb") as jobs:
        # What a failing library prints has a tenant's words in it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        memory = Memory(headroom)
        _limit_memory(headroom)
        channel.sendall(b"\n")  # ready
        for job in jobs:
            _limit_time(seconds)
            channel.sendall(answer(validators, job))
            memory.shrink(validators)


if __name__ == "__main__":
    main()
