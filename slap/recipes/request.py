"""slap:request: another instance, which belongs to this one."""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from slap.client.master import Master
from slap.client.partition import master_of
from slap.model.errors import NotFound, NotReady, SlapError
from slap.model.instance import Answer, Instance, InstanceRequest
from slap.model.node import ANSWERED_FILE, REQUESTED_FILE, PartitionContext, Requested
from slap.model.state import InstanceState
from slap.recipes.common.base import RecipeError
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import named, read_object

# Models are built at their first use: here, so that forks of a process that imported this have them.
for _model in (InstanceRequest, Instance, Answer, Requested):
    _model.model_rebuild()


class Request(InstancePart):
    """slap:request. Options: name, software-url, software-type, config-KEY, parameters, shared, sla-*, state, keep, return.

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
        request, keep = self._request(options, context), options.flag("keep")
        options.finish(self.guide)  # nothing is ordered by a part that is wrong
        wanted = dict.fromkeys(options.words("return"), "")
        master = self._master(context)
        if request.state is InstanceState.DESTROYED:
            self._child, self._missing = _end(master, request), []
        else:
            self._note(request, keep)
            self._child = self._answered(master, _ask(master, request), wanted)
            self._missing = _missing(wanted, self._child)
        self.options["instance-guid"] = self._child.guid if self._child else ""
        self.options["instance-state"] = self._child.status.value if self._child else "destroyed"
        published = self._child.connection if self._child else {}
        self.options.update(named("connection-", {**wanted, **published}))
        self.options.update(named("json-", {name: json.dumps(published.get(name)) for name in {**wanted, **published}}))

    def install(self) -> list[str]:
        if self._child and self._missing:
            raise _not_ready(self._child, self._missing)
        return []

    def _note(self, request: InstanceRequest, keep: bool) -> None:
        """Before it is ordered, so that no child is ever forgotten."""
        noted = Requested(
            reference=request.reference,
            software_release=request.software_release,
            software_type=request.software_type,
            shared=request.shared,
            keep=keep,
        )
        with (self.folder / REQUESTED_FILE).open("a") as file:
            file.write(noted.model_dump_json() + "\n")

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
            "shared": options.flag("shared"),
        }
        try:
            return InstanceRequest.model_validate(document)
        except ValidationError as error:
            raise _wrong_request(self.name, error) from error


def _read_sla(options: PartReader) -> dict[str, Any]:
    return {
        "computer": options.text("sla-computer", ""),
        "network": options.text("sla-network", ""),
        "labels": options.prefixed("sla-label-"),
        "capabilities": options.words("sla-capabilities"),
        "instance": options.text("sla-instance", ""),
        "spread": options.text("sla-spread", ""),
    }


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


def _end(master: Master, request: InstanceRequest) -> Instance | None:
    """A child that shall not be: nothing once it is gone."""
    try:
        return _ask(master, request)
    except NotFound:
        return None
