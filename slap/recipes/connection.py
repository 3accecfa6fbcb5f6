"""What a partition knows of itself (slapconfiguration), orders from others (request), and tells (publish)."""

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from slap.client.master import Master
from slap.client.partition import master_of
from slap.model.errors import NotReady, SlapError
from slap.model.instance import Answer, Instance, InstanceRequest, Sla
from slap.model.node import ANSWERED_FILE, CONNECTION_FILE, PartitionContext
from slap.recipes.common.base import RecipeError
from slap.recipes.common.part import told_by
from slap.recipes.common.partition import InstancePart, PartReader, is_option_name
from slap.recipes.template import render

_HEADER = re.compile(r"\[[A-Za-z0-9_.-]+\]")
_UNFIT_FOR_PROFILE = re.compile(r"[\x00-\x1f\x7f-\x9f$\u2028\u2029]")

# Models are built at their first use: here, so that forks of a process that imported this have them.
for _model in (PartitionContext, InstanceRequest, Instance, Answer):
    _model.model_rebuild()


class Configuration(InstancePart):
    """slap:slapconfiguration. Options: default.NAME. Sets what docs/reference/recipes/slapconfiguration.md lists."""

    guide = "slapconfiguration"

    def read(self, options: PartReader) -> None:
        context = self.context
        parameters = {**options.prefixed("default."), **context.instance.parameters}
        described = {**_describe(context), **named("parameter.", parameters)}
        for name, value in described.items():
            self.options[name] = value


class Profile(InstancePart):
    """slap:profile. Sections made by a template from the parameters: as many of them as are ordered. Options: input,
    default.NAME.

    What a template puts in can neither start a line nor refer to an option: those of buildout and of its expressions
    are for the profile's author alone.
    """

    guide = "profile"

    def read(self, options: PartReader) -> None:
        path = self.folder / options.text("input", what="the path of a template of sections")
        defaults = {name: _typed(text) for name, text in options.prefixed("default.").items()}
        options.finish(self.guide)
        parameters = {**defaults, **self.context.instance.parameters}
        with told_by(self.name):
            text = render(self.name, str(path), path.read_text(), {"parameter": parameters}, _harmless)
        for line in text.splitlines():
            if line.startswith("[") and not _HEADER.fullmatch(line.rstrip()):
                options.problem(
                    "input", f"makes the section {line!r}: its name may have letters, digits, _ . and - in it"
                )
        options.finish(self.guide)
        self.buildout.parse(text)


class Request(InstancePart):
    """slap:request. Options: name, software-url, software-type, config-KEY, parameters, sla-*, state, return.

    The order is placed while the profile is read, so that children are made side by side; what is still missing is
    told when the part is installed.
    """

    guide = "request"

    def __init__(
        self, buildout: Any, name: str, options: Any, master: Callable[[PartitionContext], Master] = master_of
    ) -> None:
        self._master = master
        super().__init__(buildout, name, options)

    def read(self, options: PartReader) -> None:
        context = self.context
        request = self._request(options, context)
        options.finish(self.guide)  # nothing is ordered by a part that is wrong
        wanted = dict.fromkeys(options.words("return"), "")
        master = self._master(context)
        self._child = self._answered(master, _ask(master, request), wanted)
        self._missing = _missing(wanted, self._child)
        self.options["instance-guid"] = self._child.guid
        self.options["instance-state"] = self._child.status.value
        for name, value in named("connection-", {**wanted, **self._child.connection}).items():
            self.options[name] = value

    def install(self) -> list[str]:
        if self._missing:
            raise _not_ready(self._child, self._missing)
        return []

    def _answered(self, master: Master, child: Instance, wanted: Mapping[str, str]) -> Instance:
        """The child once it published, where that comes soon: it spares the parent a second instantiation.

        With several children none is waited for: all are to be ordered first, and the count of news that is left for the
        node must not hide what another child published meanwhile.
        """
        end = time.monotonic() + self.context.patience
        while _missing(wanted, child) and (left := end - time.monotonic()) > 0 and self._is_only_request():
            answer = master.answer(child.guid, left)
            child = answer.child
            if not _missing(wanted, child):
                self.place(self.folder / ANSWERED_FILE, str(answer.children))
        return child

    def _is_only_request(self) -> bool:
        # The raw sections: to look at others by their names would make their parts.
        recipes = [section.get("recipe") for section in self.buildout._raw.values()]
        return recipes.count("slap:request") == 1

    def _request(self, options: PartReader, context: PartitionContext) -> InstanceRequest:
        document = {
            "reference": options.text("name", self.name),
            "software_release": options.text("software-url", context.instance.software_release),
            "software_type": options.text("software-type", "default"),
            "parameters": {**read_object(options, "parameters"), **options.prefixed("config-")},
            "state": options.text("state", context.instance.state.value),
            "sla": _read_sla(options),
        }
        try:
            return InstanceRequest.model_validate(document)
        except ValidationError as error:
            raise _wrong_request(self.name, error) from error


class Publish(InstancePart):
    """slap:publish. Publishes each of its options as a string, but those whose names start with - (-json, -extends)."""

    guide = "publish"

    def read(self, options: PartReader) -> None:
        self._connection: dict[str, Any] = {}
        for section in options.words("-extends"):
            self._connection |= _published(self.buildout[section])
        self._connection |= read_object(options, "-json")
        self._connection |= _published(self.options)

    def install(self) -> list[str]:
        return [self.place(self.folder / CONNECTION_FILE, json.dumps(self._connection, sort_keys=True))]


def named(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Options from values that somebody else chose: strings as they are, the others as JSON.

    Those with names that a profile could not write are left out; slapconfiguration has them in `json`.
    """
    return {prefix + name: _as_text(value) for name, value in values.items() if is_option_name(name)}


def read_object(options: PartReader, name: str) -> dict[str, Any]:
    """An option that is a JSON object; empty when it is not there."""
    value: object = options.parsed(name, options.text(name, ""), json.loads, "a JSON object", {})
    if isinstance(value, dict):
        return value
    options.problem(name, "is not a JSON object: write {...}")
    return {}


def preferred(context: PartitionContext) -> str:
    """The address to listen on when nothing else is said: the public one where there is one."""
    return next(iter((*context.ipv6, *context.ipv4)), "")


def in_url(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def _typed(text: str) -> Any:
    """A default as a parameter: JSON where it is that, otherwise a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _harmless(value: Any) -> str:
    text = _as_text(value)
    if _UNFIT_FOR_PROFILE.search(text):
        raise ValueError(
            f"{text!r} cannot be put in: refer to it as ${{SECTION:parameter.NAME}} of a slapconfiguration."
        )
    return text


def _describe(context: PartitionContext) -> dict[str, str]:
    instance = context.instance
    return {
        "address": preferred(context),
        "host": in_url(preferred(context)),
        "ipv4": _first(context.ipv4),
        "ipv6": _first(context.ipv6),
        "ipv4-list": " ".join(context.ipv4),
        "ipv6-list": " ".join(context.ipv6),
        "json": _as_text(instance.parameters),
        "slap-software-type": instance.software_type,
        "instance-title": instance.reference,
        "instance-guid": instance.guid,
        "root-instance-title": instance.root_reference,
        "root-instance-guid": instance.root,
        "computer-id": context.computer,
        "partition-id": instance.partition,
        "software-path": context.software_path,
    }


def _first(addresses: Iterable[str]) -> str:
    return next(iter(addresses), "")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _published(section: Mapping[str, str]) -> dict[str, str]:
    return {name: section[name] for name in section if name != "recipe" and name[0] not in "-_<"}


def _read_sla(options: PartReader) -> Sla:
    return Sla(
        computer=options.text("sla-computer", ""),
        network=options.text("sla-network", ""),
        labels=options.prefixed("sla-label-"),
        capabilities=frozenset(options.words("sla-capabilities")),
    )


def _missing(wanted: Mapping[str, str], child: Instance) -> list[str]:
    return [key for key in wanted if key not in child.connection]


def _ask(master: Master, request: InstanceRequest) -> Instance:
    """Order the child. What is wrong with it is told here, before buildout takes away anything that runs."""
    try:
        return master.request(request)
    except SlapError as error:
        raise type(error)(f"Child {request.reference!r}: {error.brief}", error.details, error.resolution) from error


def _not_ready(child: Instance, missing: list[str]) -> NotReady:
    return NotReady(
        f"Waiting for child {child.reference!r} to publish {', '.join(missing)}.",
        f"It is {child.status}" + (f": {child.message}" if child.message else "."),
        "Nothing to do: this goes on by itself as soon as the child has published.",
    )


def _wrong_request(part: str, error: ValidationError) -> RecipeError:
    problems = (f"- {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
    return RecipeError(
        f"Part [{part}] orders what cannot be ordered.", "\n".join(problems), f"Correct section [{part}]."
    )
