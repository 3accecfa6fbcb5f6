"""What somebody orders, from the words of a command line."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.cli.base import one_of, read_small_file
from slap.model.errors import InvalidInput, UsageError
from slap.model.instance import InstanceRequest, Sla
from slap.model.software import DEFAULT_TYPE, normalise_release_url
from slap.model.state import InstanceState


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """The options that describe an order; `slapos request` and `slapos service plan` have them in common."""
    parser.add_argument("reference", metavar="NAME", help="your name for the service")
    parser.add_argument("url", metavar="URL", help="software release: the URL or the path of a software.cfg")
    parser.add_argument("--type", default=DEFAULT_TYPE, help="one of the software types of the release")
    parser.add_argument(
        "--parameters", nargs="+", default=[], metavar="KEY=VALUE", help="parameters, or one JSON object with them all"
    )
    parser.add_argument("--parameters-file", metavar="FILE", help="a JSON file with the parameters; - is stdin")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--computer", default="", metavar="GUID", help="place it on this computer")
    place.add_argument(
        "--node",
        default="",
        metavar="KEY=VALUE,...",
        help="where to place it: computer, network, capability (may be repeated), or any label of computers",
    )
    parser.add_argument(
        "--state", type=one_of(InstanceState), default=InstanceState.STARTED, help=", ".join(InstanceState)
    )


def request_of(args: argparse.Namespace, folder: Path) -> InstanceRequest:
    """The order that the options describe; relative paths start in `folder`."""
    try:
        return InstanceRequest(
            reference=args.reference,
            software_release=_release(args, folder),
            software_type=args.type,
            parameters=_parameters(args, folder),
            state=args.state,
            sla=Sla(computer=args.computer) if args.computer else parse_sla(args.node),
        )
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise UsageError(f"{args.reference!r} cannot be ordered.", wrong, "slapos help request") from error


def release_url(text: str, folder: Path) -> str:
    """The release's URL; a local one must be there, which is better said here than by a build that fails later."""
    url = normalise_release_url(text, str(folder))
    if url.startswith("/") and not Path(url).is_file():
        raise InvalidInput(
            f"There is no software release {text}.",
            f"{url} is not a file.",
            "Give the path of a software.cfg, or its folder.",
        )
    return url


def _release(args: argparse.Namespace, folder: Path) -> str:
    """To destroy a service, its profile need not be there any more."""
    if args.state is InstanceState.DESTROYED:
        return normalise_release_url(args.url, str(folder))
    return release_url(args.url, folder)


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Parameters from `key=value` words, or from one JSON object."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return parse_document(words[0], "--parameters")
    pairs = dict(_pair(word, "--parameters") for word in words)
    if len(pairs) < len(words):
        raise UsageError("--parameters gives a key twice.", " ".join(words))
    return {key: parse_value(value) for key, value in pairs.items()}


def parse_value(text: str) -> Any:
    """A number, true, false, null, a list or an object when the text is one in JSON; else the text itself.

    A number that would come back differently (1.10, 1e3) stays text: it is a version or a name.
    """
    try:
        value = _strict_json(text)
    except ValueError:
        return text
    return text if isinstance(value, int | float) and json.dumps(value) != text else value


def parse_document(text: str, source: str) -> dict[str, Any]:
    try:
        value = _strict_json(text)
    except ValueError as error:
        hint = "Correct it; a shell takes quotes away unless the whole is within '...'."
        raise UsageError(f"{source} is not JSON.", str(error), hint) from error
    if not isinstance(value, dict):
        raise UsageError(f"{source} is not a JSON object.", 'It should look like {"key": "value"}.')
    return value


def parse_sla(text: str) -> Sla:
    """Where to place an instance, from `key=value,...`; SlapOS's names of keys are understood too."""
    filters: dict[str, str] = {}
    capabilities = set()
    for key, value in (_pair(word, "--node") for word in text.split(",") if word):
        if key in ("capability", "capabilities"):
            capabilities.add(value)
        else:
            filters[key] = value
    computer = filters.pop("computer", filters.pop("computer_guid", ""))
    network = filters.pop("network", filters.pop("network_guid", ""))
    return Sla(computer=computer, network=network, labels=filters, capabilities=frozenset(capabilities))


def _parameters(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if not args.parameters_file:
        return parse_parameters(args.parameters)
    if args.parameters:
        raise UsageError("--parameters and --parameters-file exclude each other.")
    return parse_document(read_small_file(args.parameters_file, sys.stdin.read, folder), args.parameters_file)


def _strict_json(text: str) -> Any:
    """JSON without the NaN and Infinity that Python would let through."""
    return json.loads(text, parse_constant=_refuse)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON value")


def _pair(word: str, option: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(
            f"{option}: {word!r} is not of the form key=value.",
            resolution=f"put {option} behind NAME and URL" if option == "--parameters" else "",
        )
    return key, value
