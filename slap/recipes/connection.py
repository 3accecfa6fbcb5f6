"""What a partition knows of itself (slapconfiguration), and what it tells (publish, publish-shared)."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from slap.model.node import CONNECTION_FILE, SHARED_FOLDER, DesiredSharedInstance, PartitionContext
from slap.model.state import InstanceState
from slap.recipes.common.part import told_by
from slap.recipes.common.partition import InstancePart, PartReader, is_option_name
from slap.recipes.template import render

_HEADER = re.compile(r"\[[A-Za-z0-9_.-]+\]")
_UNFIT_FOR_PROFILE = re.compile(r"[\x00-\x1f\x7f-\x9f$\u2028\u2029]")

# Models are built at their first use: here, so that forks of a process that imported this have them.
PartitionContext.model_rebuild()


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
            context = {"parameter": parameters, "shared": _served(self.context, InstanceState.STARTED)}
            text = render(self.name, str(path), path.read_text(), context, _harmless)
        for line in text.splitlines():
            if line.startswith("[") and not _HEADER.fullmatch(line.rstrip()):
                options.problem(
                    "input", f"makes the section {line!r}: its name may have letters, digits, _ . and - in it"
                )
        options.finish(self.guide)
        self.buildout.parse(text)


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


class PublishShared(InstancePart):
    """slap:publish-shared. Publishes for the shared instances that this one serves. Options: -shared-guid, -extends, -json.

    With -shared-guid the options are for that one; without, for each that is started, with {guid} and {reference} in
    them replaced by its own. -json: an object of objects, by guid.
    """

    guide = "publish-shared"

    def read(self, options: PartReader) -> None:
        self._known = {each.guid: each for each in self.context.instance.shared}
        common: dict[str, str] = {}
        for section in options.words("-extends"):
            common |= _published(self.buildout[section])
        common |= _published(self.options)
        chosen = options.words("-shared-guid")
        self._connections = {guid: dict(_own(each, common)) for guid, each in self._chosen(options, chosen).items()}
        for guid, connection in read_object(options, "-json").items():
            self._publish(options, guid, connection)

    def install(self) -> list[str]:
        path = self.folder / SHARED_FOLDER / f"{self.name}.json"
        return [self.place(path, json.dumps(self._connections, sort_keys=True))]

    def _chosen(self, options: PartReader, guids: Iterable[str]) -> dict[str, DesiredSharedInstance]:
        if not guids:
            return {guid: each for guid, each in self._known.items() if each.state is InstanceState.STARTED}
        for guid in set(guids) - set(self._known):
            options.problem("-shared-guid", f"is {guid!r}, which is no shared instance that is served here")
        return {guid: self._known[guid] for guid in guids if guid in self._known}

    def _publish(self, options: PartReader, guid: str, connection: object) -> None:
        if guid not in self._known or not isinstance(connection, dict):
            options.problem(
                "-json", f'has {guid!r}: write {{"GUID": {{...}}}} of shared instances that are served here'
            )
        else:
            self._connections[guid] = self._connections.get(guid, {}) | connection


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
        "shared-list": json.dumps(_served(context, InstanceState.STARTED), sort_keys=True),
        "shared-stopped-list": json.dumps(_served(context, InstanceState.STOPPED), sort_keys=True),
        "shared-count": str(len(_served(context, InstanceState.STARTED))),
    }


def _served(context: PartitionContext, state: InstanceState) -> list[dict[str, Any]]:
    """The shared instances in a state, as profiles see them."""
    shared = (each for each in context.instance.shared if each.state is state)
    return [each.model_dump(mode="json", exclude={"revision", "state"}) for each in shared]


def _own(shared: DesiredSharedInstance, options: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """What is published for one of all: the same, but for its own names."""
    for name, text in options.items():
        yield name, text.replace("{guid}", shared.guid).replace("{reference}", shared.reference)


def _first(addresses: Iterable[str]) -> str:
    return next(iter(addresses), "")


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _published(section: Mapping[str, str]) -> dict[str, str]:
    return {name: section[name] for name in section if name != "recipe" and name[0] not in "-_<"}
