"""Ports of a partition that lead elsewhere, each by a socat that is kept running (socat)."""

import os
import pwd
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slap.recipes.common.base import RecipeError
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import preferred
from slap.recipes.promise import check_text, own_address, read_times
from slap.recipes.service import Script
from slap.system.network.addresses import bracketed, plain_address
from slap.system.network.ports import Endpoint, first_free_port, holder_of, is_free, is_held_by
from slap.system.network.socat import Forward, Protocol
from slap.system.processes import PARTITION_MARK, Mark, find_marked

_PORT = re.compile(r"(\d{1,9})(?::(\d{1,9}))?(?:/(tcp|udp))?")
_HIGHEST = 65535
_PROMISES = {"end-to-end": "forward", "listening": "port", "none": ""}

Key = tuple[str, int, str]


class Socat(InstancePart):
    """slap:socat. Forwarders, a supervised process each. Options: ports, socat, address, target, source-address, promise,
    expect, timeout, frequency, name."""

    guide = "socat"

    def read(self, options: PartReader) -> None:
        self._name = self.file_name(options)
        self._socat = self.path_of_program(options)
        self._kind = _read_promise(options)
        self._forwards = self._read_forwards(options)
        expect, times = options.text("expect", ""), read_times(options)
        options.finish(self.guide)
        for forward in self._forwards:  # before buildout takes away what an earlier run made
            self._refuse_if_taken(forward)
        self._checks = {
            forward: check_text(options, {**self._check(forward), "expect": expect, **times})
            for forward in self._forwards
            if self._kind and forward.protocol == "tcp"
        }

    def install(self) -> list[str]:
        return [path for forward in self._forwards for path in self._place_all(forward)]

    def path_of_program(self, options: PartReader) -> str:
        path = options.text("socat", what="the path of a socat, such as ${socat:location}/bin/socat of a slap:deb")
        if path and not os.access(path, os.X_OK):
            options.problem("socat", f"is {path!r}, where there is no program: have the release bring it by slap:deb")
        return path

    def _read_forwards(self, options: PartReader) -> tuple[Forward, ...]:
        context = self.context
        address = own_address(options, context, "address", options.text("address", preferred(context)))
        target = _read_address(options, "target", next(iter(context.ipv4), None), "where the ports lead to")
        source = _read_address(options, "source-address", "", "whom the target shall see")
        if "ports" not in self.options:
            options.problem("ports", "is missing: ports such as 8080, 10022:22 or 53:5353/udp; empty for none")
        found = [Forward(port, target, to, address, protocol, source) for port, to, protocol in _read_ports(options)]
        self._tell_duplicates(options, found)
        return tuple(found)

    def _tell_duplicates(self, options: PartReader, forwards: Iterable[Forward]) -> None:
        """Parts are all read before one is installed, so none finds a port taken by another."""
        known: dict[Key, str] = vars(self.buildout).setdefault("_slap_forwards", {})
        for forward in forwards:
            other = known.setdefault(_key(forward), self.name)
            if other != self.name:
                options.problem("ports", f"has {_title(forward)}, which part [{other}] forwards too")

    def _place_all(self, forward: Forward) -> Iterable[str]:
        script = Script(forward.argv(self._socat), self.folder, {})
        yield self.place(self._service(forward), script.text(), 0o700)
        if text := self._checks.get(forward):
            yield self.place(self.folder / f"etc/plugin/{self._file(forward)}.json", text)

    def _check(self, forward: Forward) -> dict[str, Any]:
        target = f"{bracketed(forward.target)}:{forward.target_port}"
        return {"check": self._kind, "host": forward.address, "port": forward.port, "target": target}

    def _file(self, forward: Forward) -> str:
        return f"{self._name}-{forward.port}" + ("-udp" if forward.protocol == "udp" else "")

    def _service(self, forward: Forward) -> Path:
        return self.folder / "etc/service" / self._file(forward)

    def _refuse_if_taken(self, forward: Forward) -> None:
        """Unless it is this partition that has it: by an earlier run, or by a part that goes away with this one."""
        endpoint = Endpoint(forward.address, forward.port)
        if is_free(endpoint, forward.protocol):
            return
        holder = holder_of(endpoint, forward.protocol)
        if holder and is_held_by(holder, find_marked(Mark(PARTITION_MARK, str(self.folder)))):
            return
        instance = self.context.instance
        who = f"{_user(holder.user)} listens there." if holder else "Nobody can listen there."
        raise RecipeError(
            f"Part [{self.name}] of {instance.reference} ({instance.partition}) asks for {_title(forward)} "
            f"of {forward.address}, which is taken.",
            who,
            "Order another port, or end what has this one.",
        )


def _read_promise(options: PartReader) -> str:
    text = options.text("promise", "end-to-end")
    if text not in _PROMISES:
        options.problem("promise", f"is {text!r}: write one of {', '.join(_PROMISES)}")
    return _PROMISES.get(text, "")


def _read_address(options: PartReader, name: str, default: str | None, what: str) -> str:
    text = options.text(name, default, f"an IP address: {what}")
    return options.parsed(name, text, plain_address, "an IP address", "")


def _read_ports(options: PartReader) -> Iterable[tuple[int, int, Protocol]]:
    """PORT[:TARGET][/udp]; raises nothing for a wrong one, but tells it."""
    seen: set[tuple[int, str]] = set()
    for word in options.words("ports"):
        match = _PORT.fullmatch(word)
        if not match:
            options.problem("ports", f"has {word!r}: write a port, PORT:TARGET, or one of these with /udp")
            continue
        port, target = int(match[1]), int(match[2] or match[1])
        protocol: Protocol = "udp" if match[3] == "udp" else "tcp"
        if (port, protocol) in seen:
            options.problem("ports", f"has port {port} ({protocol}) twice")
        seen.add((port, protocol))
        if _is_in_range(options, word, port, target):
            yield port, target, protocol


def _is_in_range(options: PartReader, word: str, port: int, target: int) -> bool:
    lowest = 1 if os.geteuid() == 0 else first_free_port()
    wrong = next((each for each in (port, target) if not 1 <= each <= _HIGHEST), None)
    if wrong is not None:
        options.problem("ports", f"has {word!r}, where {wrong} is out of range: ports are from 1 to {_HIGHEST}")
    elif port < lowest:
        options.problem("ports", f"has {word!r}: only root may listen below {lowest}; the manager portredir does")
    return wrong is None and port >= lowest


def _key(forward: Forward) -> Key:
    return forward.address, forward.port, forward.protocol


def _title(forward: Forward) -> str:
    return f"port {forward.port} ({forward.protocol})"


def _user(number: int) -> str:
    try:
        return f"A process of user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"A process of user {number}"
