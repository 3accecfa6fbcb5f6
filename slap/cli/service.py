"""Services as their owner sees them: list, info, logs, history."""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from slap.cli.base import ClientCommand, Lister, Show
from slap.cli.find import find_member
from slap.cli.formats import AsSlapos, Cell, Formats, list_formats, show_formats
from slap.cli.order.wait import SIGNS, access_status, describe, summary
from slap.cli.output import Style, age, columns, harmless, short_release, status_style
from slap.cli.usage import usage_text
from slap.cli.values import in_words
from slap.client.master import Master
from slap.model.errors import Forbidden, NotFound, NotOffered
from slap.model.instance import FieldChange, Instance, InstanceTree
from slap.model.promise import PromiseResult
from slap.model.software import SoftwareRelease
from slap.model.state import Status

POLL = 1.0  # seconds between two looks at the logs
WINDOW = 200  # lines of a log by which two looks are compared


class ServiceList(Lister):
    """List your services."""

    when_empty = "You have no services yet. Order one: slapos request NAME URL"

    def _load_formatter_plugins(self) -> Formats:
        return list_formats(slapos=AsSlapos(slapos_list))

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        names = ("name", "status", "computer", "partition", "software", "age", "message")
        now = self.clock.now()
        return names, [_row(instance, now) for instance in self.master(args).instances()]


class ServiceInfo(Show):
    """Show all about a service: tree, promises, connection."""

    def _load_formatter_plugins(self) -> Formats:
        return show_formats(slapos=AsSlapos(slapos_info))

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = _with_name(super().get_parser(name))
        parser.add_argument("--news", action="store_true", help="with what its nodes said last, as SlapOS words it")
        return parser

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Any]:
        master = self.master(args)
        instance = find_member(master, args.reference)
        tree = master.tree(instance.root)
        self.text = "\n\n".join(
            [
                *info_text(instance, tree, _release(master, instance), self.clock.now()),
                *limits_text(master, instance),
                *_usage(master, instance),
            ]
        )
        members = [one.model_dump(mode="json", include=_MEMBER) for one in tree.instances]
        fields = {**instance.model_dump(mode="json"), "tree": members}
        if args.news:
            news = news_of(tree)
            self.text += "\n\nNews\n" + columns((one["user"], harmless(one["text"])) for one in news)
            fields["news"] = news
        return self.fields(fields)


class ServiceLogs(ClientCommand):
    """Show the last lines of a service's logs."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        parser = _with_name(super().get_parser(name))
        parser.add_argument("-n", "--lines", type=int, default=100, help="how many of each log (100)")
        parser.add_argument("--follow", action="store_true", help="go on with what is added, until Ctrl-C")
        return parser

    def take_action(self, args: argparse.Namespace) -> None:
        master = self.master(args)
        guid = find_member(master, args.reference).guid
        window = max(args.lines, WINDOW) if args.follow else args.lines
        logs = split_logs(master.logs(guid, window))
        self._write(logs, args.lines)
        while args.follow:
            self.clock.sleep(POLL)
            before, logs = logs, split_logs(master.logs(guid, window))
            self._write({name: added(before.get(name, []), lines) for name, lines in logs.items()}, window)

    def _write(self, logs: dict[str, list[str]], most: int) -> None:
        for name, lines in logs.items():
            if lines:
                self.app.stdout.write("\n".join([*([f"==> {name} <=="] if name else []), *lines[-most:]]) + "\n")
        self.app.stdout.flush()


class ServiceHistory(Lister):
    """List what was requested of a service, by whom and when."""

    def get_parser(self, name: str) -> argparse.ArgumentParser:
        return _with_name(super().get_parser(name))

    def take_action(self, args: argparse.Namespace) -> tuple[Sequence[str], Iterable[Any]]:
        master, now = self.master(args), self.clock.now()
        entries = master.history(find_member(master, args.reference).guid)
        rows = [
            (entry.number, Cell(entry.at.isoformat(), f"{age(entry.at, now)} ago"), entry.by, _changes(entry.changes))
            for entry in entries
        ]
        return ("number", "when", "by", "changes"), rows


def slapos_list(rows: list[dict[str, Any]]) -> str:
    """`slapos service list` as SlapOS prints it: the releases of services, by name."""
    return json.dumps({row["name"]: row["software"] for row in rows}, sort_keys=True, indent=2)


def slapos_info(rows: list[dict[str, Any]]) -> str:
    """`slapos service info` as SlapOS prints it; green is what is as requested."""
    (row,) = rows
    colours = {Status.ERROR: "red", Status.STARTED: "green", Status.STOPPED: "green"}
    info = {
        "software-url": row["software_release"],
        "software-type": row["software_type"],
        "shared": row["shared"],
        "requested-state": row["requested"],
        "instance-parameters": row["parameters"],
        "connection-parameters": row["connection"],
        "status": colours.get(Status(row["status"]), "none"),
    }
    return json.dumps(info | ({"news": row["news"]} if "news" in row else {}), indent=2)


def news_of(tree: InstanceTree) -> list[dict[str, str]]:
    """What was last heard of each instance of a tree, in the form of SlapOS's news."""
    return [
        {"user": one.reference, "created_at": one.changed_at.isoformat(), "text": access_status(one)}
        for one in tree.instances
    ]


def _usage(master: Master, instance: Instance) -> list[str]:
    """What it uses, where the master can tell."""
    if instance.placed_by:
        return []
    try:
        found = usage_text(master.usage(instance.guid).slots)
    except NotOffered:
        return []
    return [found] if found else []


def limits_text(master: Master, instance: Instance) -> Iterator[str]:
    """What the partition of an instance may use, as far as its master tells."""
    limits = instance.sla.limits
    with suppress(NotFound, NotOffered, Forbidden):
        known = None if instance.shared or instance.placed_by else master.computer(instance.computer)
        if known and known.configuration.limits:
            limits = limits.over(known.configuration.limits.defaults)
    if texts := limits.texts():
        own = instance.sla.limits.texts()
        rows = ((name.replace("_", " "), text + " (requested)" * (name in own)) for name, text in texts.items())
        yield "Limits\n" + columns(rows)


def info_text(instance: Instance, tree: InstanceTree, release: SoftwareRelease | None, now: datetime) -> Iterator[str]:
    """All about an instance, in paragraphs."""
    yield columns(_facts(instance, release, now), indent=0)
    if instance.connection:
        yield "Connection\n" + columns(_values(instance.connection))
    if instance.parameters:
        yield "Parameters\n" + columns(_values(instance.parameters))
    if instance.promises:
        yield "Promises\n" + "\n".join(promise_line(promise, now) for promise in instance.promises)
    if len(tree.instances) > 1:
        yield "Tree\n" + "\n".join(tree_lines(tree))


def promise_line(promise: PromiseResult, now: datetime) -> str:
    sign = "✓" if promise.passed else "✗"
    return f"  {sign} {promise.name}: {harmless(promise.message) or 'passed'} (since {age(promise.at, now)})"


def tree_lines(tree: InstanceTree) -> Iterator[str]:
    for line in describe(tree):
        yield f"  {'  ' * line.depth}{SIGNS[line.mark]} {line.name}: {harmless(line.text)}"


def split_logs(text: str) -> dict[str, list[str]]:
    """The lines of each log, from a text in which each begins with `==> NAME <==`."""
    logs: dict[str, list[str]] = {}
    name = ""
    for line in harmless(text).splitlines():
        heading = _HEADING.fullmatch(line)
        name = heading[1] if heading else name
        if not heading and (line or name):
            logs.setdefault(name, []).append(line)
    return {name: lines[:-1] if name and lines[-1] == "" else lines for name, lines in logs.items()}


def added(before: list[str], now: list[str]) -> list[str]:
    """The lines that a log got between two looks at its end; all that is seen when the two looks have nothing in common."""
    overlap = (length for length in range(min(len(before), len(now)), 0, -1) if before[-length:] == now[:length])
    return now[next(overlap, 0) :]


_HEADING = re.compile(r"==> (.+) <==")
_MEMBER = {"guid", "reference", "shared", "status", "computer", "partition", "message"}


def _row(instance: Instance, now: datetime) -> Sequence[Any]:
    return (
        instance.reference,
        Cell(instance.status.value, style=status_style(instance.status)),
        instance.computer,
        instance.partition,
        Cell(instance.software_release, short_release(instance.software_release)),
        Cell(instance.created_at.isoformat(), age(instance.created_at, now)),
        summary(instance),
    )


def _facts(instance: Instance, release: SoftwareRelease | None, now: datetime) -> Iterator[tuple[str, str]]:
    """The heart of the matter first; fields that have nothing to say stay away."""
    yield "name", instance.reference
    yield "status", f"{instance.status} (requested: {instance.requested}), since {age(instance.changed_at, now)}"
    if summary(instance):
        yield "message", harmless(instance.message or summary(instance))
    yield "place", f"{instance.computer}, {instance.partition}"
    if instance.placed_by:
        yield "placed by", f"the master at {instance.placed_by}"
    if instance.shared:
        yield "served by", instance.host or "nobody any more"
    if instance.serves:
        yield "serves", f"{instance.serves} shared instance{'s' * (instance.serves > 1)}"
    if instance.addresses:
        yield "addresses", ", ".join(instance.addresses)
    yield "software", instance.software_release
    yield "type", _type_title(instance, release)
    yield "age", age(instance.created_at, now)
    yield "guid", instance.guid


def _type_title(instance: Instance, release: SoftwareRelease | None) -> str:
    described = release.types.get(instance.software_type) if release else None
    return f"{instance.software_type} ({described.title})" if described and described.title else instance.software_type


def _release(master: Master, instance: Instance) -> SoftwareRelease | None:
    try:
        return next((one for one in master.releases() if one.url == instance.software_release), None)
    except NotOffered:
        return None


def _values(parameters: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in parameters.items():
        yield key, harmless(in_words(value))


def _changes(changes: Sequence[FieldChange]) -> Cell:
    """One line for each change; an order that changed nothing else is the first one."""
    lines = [f"{one.field}: {one.before or '(none)'} → {one.after or '(none)'}" for one in changes]
    return Cell([one.model_dump() for one in changes], "\n".join(lines) or "ordered", Style.PLAIN)


def _with_name(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("reference", metavar="NAME", help="the service, SERVICE/NAME of what it ordered, or a guid")
    return parser
