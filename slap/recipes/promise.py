"""Promises that the node checks without a Python for each: etc/plugin/NAME.json."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import TypeAdapter, ValidationError

from slap.model.check import Check
from slap.model.node import PartitionContext
from slap.recipes.common.partition import InstancePart, PartReader
from slap.recipes.connection import preferred
from slap.recipes.service import read_command, read_environment

_CHECK: TypeAdapter[Check] = TypeAdapter(Check)
_CHECK.rebuild()

_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Promise(InstancePart):
    """A part that becomes one check. `describe` gives its fields, all but the two times."""

    def read(self, options: PartReader) -> None:
        fields = self.describe(options)
        times = read_times(options)
        self._path = self.folder / f"etc/plugin/{self.file_name(options)}.json"
        options.finish(self.guide)
        self._text = check_text(options, {**fields, **times})

    def describe(self, options: PartReader) -> dict[str, Any]:
        raise NotImplementedError

    def install(self) -> list[str]:
        return [self.place(self._path, self._text)]


class Port(_Promise):
    """slap:check-port. A connection succeeds. Options: address, port, send, expect, timeout, frequency, name."""

    guide = "check-port"

    def describe(self, options: PartReader) -> dict[str, Any]:
        address = options.text("address", preferred(self.context))
        host, port = own_address(options, self.context, "address", address), options.number("port")
        words = {"send": options.text("send", ""), "expect": options.text("expect", "")}
        return {"check": "port", "host": host, "port": port, **words}


class Url(_Promise):
    """slap:check-url. A GET succeeds. Options: url, expect, timeout, frequency, name."""

    guide = "check-url"

    def describe(self, options: PartReader) -> dict[str, Any]:
        text = options.text("url", what="what to get")
        url = options.parsed("url", text, _parse, "an http: or https: URL", _parse("http://"))
        return {
            "check": "url",
            "host": own_address(options, self.context, "url", url.hostname or ""),
            "port": url.port or _DEFAULT_PORTS[url.scheme],
            "path": (url.path or "/") + (f"?{url.query}" if url.query else ""),
            "tls": url.scheme == "https",
            "expect": options.text("expect", ""),
        }


class Command(_Promise):
    """slap:check-command. A program succeeds. Options: command-line, or command and arguments; environment, timeout..."""

    guide = "check-command"

    def describe(self, options: PartReader) -> dict[str, Any]:
        return {
            "check": "command",
            "command": read_command(options),
            "environment": read_environment(options),
        }


def read_times(options: PartReader) -> dict[str, float]:
    """How long one run may take, and how often it is made."""
    return {"timeout": options.seconds("timeout", 5), "frequency": options.seconds("frequency", 60)}


def check_text(options: PartReader, fields: Mapping[str, Any]) -> str:
    """What is in a check's file; empty, and the problems told, when its fields are wrong."""
    try:
        return _CHECK.validate_python(fields).model_dump_json(indent=1)
    except ValidationError as error:
        for problem in error.errors():
            options.problem(str(problem["loc"][-1]), f"is wrong: {problem['msg']}")
    return ""


def own_address(options: PartReader, context: PartitionContext, name: str, host: str) -> str:
    """An address of the partition's own: the node looks at no other on behalf of a tenant."""
    addresses = (*context.ipv4, *context.ipv6)
    if host not in addresses:
        options.problem(
            name,
            f"names {host!r}, which is not an address of this partition ({', '.join(addresses)}): "
            "use slap:check-command to look elsewhere",
        )
    return host


def _parse(text: str) -> SplitResult:
    """Raises ValueError for what is not a URL that can be checked."""
    url = urlsplit(text)
    if url.scheme not in _DEFAULT_PORTS or url.port == 0 or url.username:
        raise ValueError(text)
    return url
