"""What somebody orders, from the words of a command line."""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from slap.cli.base import one_of, read_small_file
from slap.cli.order.documents import parse_document, parse_file, strict_json
from slap.model.errors import InvalidInput, UsageError
from slap.model.instance import InstanceRequest, Sla
from slap.model.resources.limits import Limits, read_limits
from slap.model.serialisation import Serialisation, unwrap
from slap.model.sla_filters import sla_from_filters
from slap.model.software import DEFAULT_TYPE, normalise_release_url
from slap.model.state import InstanceState

# Several filters may share a word; a comma within a value is followed by no other KEY=.
_NEXT_FILTER = re.compile(r",(?=[^,=]+=)")

_SHORT_FILTERS = {"computer": "computer_guid", "network": "network_guid", "capabilities": "capability"}


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """The options that describe an order; `slapos request` and `slapos service plan` have them in common."""
    parser.add_argument("reference", metavar="NAME", help="your name for the service")
    parser.add_argument("url", metavar="URL", help="software release: the URL or the path of a software.cfg")
    parser.add_argument("--type", default=DEFAULT_TYPE, help="one of the software types of the release")
    _add_parameters(parser)
    _add_place(parser)
    _add_limits(parser)
    parser.add_argument(
        "--state", type=one_of(InstanceState), default=InstanceState.STARTED, help=", ".join(InstanceState)
    )
    parser.add_argument("--slave", "--shared", action="store_true", help="a shared instance, which another one serves")


def request_of(args: argparse.Namespace, folder: Path) -> InstanceRequest:
    """The order that the options describe; relative paths start in `folder`."""
    parameters, serialisation = _parameters(args, folder)
    try:
        return InstanceRequest(
            reference=args.reference,
            software_release=_release(args, folder),
            software_type=args.type,
            parameters=parameters,
            serialisation=serialisation,
            state=args.state,
            sla=_sla(args),
            shared=args.slave,
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


def parse_value(text: str) -> Any:
    """A number, true, false, null, a list or an object when the text is one in JSON; else the text itself.

    A number that would come back differently (1.10, 1e3) stays text: it is a version or a name.
    """
    try:
        value = strict_json(text)
    except ValueError:
        return text
    return text if isinstance(value, int | float) and json.dumps(value) != text else value


def parse_parameters(words: Sequence[str], read: Callable[[str], Any] = parse_value) -> dict[str, Any]:
    """Parameters from `key=value` words, whose values are understood by `read`, or from one JSON object."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return parse_document(words[0], "--parameters")
    pairs = dict(_pair(word, "--parameters") for word in words)
    if len(pairs) < len(words):
        raise UsageError("--parameters gives a key twice.", " ".join(words))
    return {key: read(value) for key, value in pairs.items()}


def parse_sla(words: Sequence[str]) -> Sla:
    """Where to place an instance, from `key=value` words; several may share a word, with commas between them."""
    filters: dict[str, str] = {}
    for key, value in (_pair(pair, "--node") for word in words for pair in _NEXT_FILTER.split(word) if pair):
        name = _SHORT_FILTERS.get(key, key)
        if name in filters and name != "capability":
            raise UsageError("--node gives a key twice.", " ".join(words))
        filters[name] = f"{filters.get(name, '')} {value}"
    return sla_from_filters(filters)


def parse_limits(words: Sequence[str]) -> Limits:
    """What an instance may use, from `name=amount` words: memory=2GiB, cpu-weight=50."""
    pairs = [_pair(word, "--limit") for word in words]
    limits = {name.replace("-", "_"): amount for name, amount in pairs}
    if len(limits) < len(pairs):
        raise UsageError("--limit gives a name twice.", " ".join(words))
    return read_limits(limits)


def _sla(args: argparse.Namespace) -> Sla:
    place = Sla(computer=args.computer) if args.computer else parse_sla(args.node)
    return place.model_copy(update={"limits": parse_limits(args.limit)}) if args.limit else place


def _add_parameters(parser: argparse.ArgumentParser) -> None:
    parameters = parser.add_mutually_exclusive_group()
    parameters.add_argument(
        "--parameters", nargs="+", default=[], metavar="KEY=VALUE", help="parameters, or one JSON object with them all"
    )
    parameters.add_argument(
        "--parameters-file", metavar="FILE", help="a file with them: .json, .yaml or .xml; - is JSON from stdin"
    )
    parser.add_argument(
        "--force-serialisation",
        default="",
        choices=[Serialisation.FLAT.value, Serialisation.JSON.value],
        help="how nodes of SlapOS get the parameters: each as text, or all as JSON (default: as the release says)",
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--computer", default="", metavar="GUID", help="place it on this computer")
    place.add_argument(
        "--node",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="where to place it: computer, network, capability (may be repeated), mode, instance_guid, or any label",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit",
        nargs="+",
        default=[],
        metavar="NAME=AMOUNT",
        help="what it may use: processes, memory, descriptors, cpu-weight, io-weight, disk",
    )


def _release(args: argparse.Namespace, folder: Path) -> str:
    """To destroy a service, its profile need not be there any more."""
    if args.state is InstanceState.DESTROYED:
        return normalise_release_url(args.url, str(folder))
    return release_url(args.url, folder)


def _parameters(args: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], Serialisation]:
    """The parameters, and the form in which nodes of SlapOS are to get them, where it does not follow from the values."""
    forced = Serialisation(args.force_serialisation)
    if args.parameters_file:
        given = parse_file(read_small_file(args.parameters_file, sys.stdin.read, folder), args.parameters_file)
        plain, came = unwrap_typed(given)
        return plain, forced or came
    given = parse_parameters(args.parameters, str if forced is Serialisation.FLAT else parse_value)
    plain, came = unwrap_typed(given)
    return plain, forced or came or _form_of_words(args.parameters, plain)


def unwrap_typed(given: dict[str, Any]) -> tuple[dict[str, Any], Serialisation]:
    """What SlapOS's users type as one parameter `_` with a JSON object in it is that object."""
    inner = given.get("_")
    typed = {"_": json.dumps(inner)} if len(given) == 1 and isinstance(inner, dict) else given
    plain, came = unwrap(typed)
    return plain, came if came is Serialisation.JSON else Serialisation.NONE


def _form_of_words(words: Sequence[str], plain: dict[str, Any]) -> Serialisation:
    """KEY=VALUE is flat for nodes of SlapOS, also where the value is a number to ours."""
    is_document = len(words) == 1 and words[0].lstrip().startswith("{")
    are_texts = all(isinstance(value, str) for value in plain.values())
    return Serialisation.NONE if is_document or are_texts else Serialisation.FLAT


def _pair(word: str, option: str) -> tuple[str, str]:
    key, equals, value = word.partition("=")
    if not equals or not key:
        raise UsageError(
            f"{option}: {word!r} is not of the form key=value.",
            resolution=f"put {option} behind NAME and URL",
        )
    return key, value
