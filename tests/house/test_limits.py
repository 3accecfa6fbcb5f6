"""Every limit that a configuration can set is in the reference, with its default."""

import re

import pytest
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from slap.cache.server.settings import CacheSettings
from slap.master.database.hub import LONGEST_WAIT
from slap.master.settings import MasterSettings
from slap.model.base import Frozen
from slap.model.node import MAX_LOG_LINES, MAX_PROMISES, MAX_REPORTS
from slap.model.resources.limits import BUILD_DEFAULTS, DEFAULTS
from slap.model.usage import MAX_SERIES
from slap.model.values import MAX_DEPTH, MAX_LINE_LENGTH, MAX_LOG_LENGTH, MAX_MESSAGE_LENGTH, MAX_VALUES_SIZE
from slap.system.serving.limits import BodyLimits, ConnectionLimits
from slap.system.serving.refusals import Refusal
from tests.house.sources import read

CONFIGURATION, CACHE = "docs/reference/configuration.md", "docs/reference/cache-server.md"
OF_NODES = {**DEFAULTS, **{f"max_{name}": text for name, text in DEFAULTS.items()}}
OF_BUILDS = {f"build_{name}": text for name, text in BUILD_DEFAULTS.items()}


def documented(page: str) -> dict[str, str]:
    """Options in the tables of a page, and their defaults as they are written there."""
    found: dict[str, str] = {}
    for line in read(page).text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        names = re.findall(r"`([a-z][a-z0-9_]*)`", cells[0]) if line.startswith("| `") and len(cells) == 3 else []
        defaults = re.findall(r"`([^`]*)`", cells[1]) if names else []
        found.update(zip(names, defaults if len(defaults) == len(names) else defaults[:1] * len(names), strict=False))
    return found


def default_text(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, ByteSize):
        return default.human_readable(separator=" ").replace(".0 ", " ")
    return f"{default:g}" if isinstance(default, float) else str(default)


def wrong_options(settings: type[Frozen], page: str, inherited: type[Frozen]) -> list[str]:
    """Options of a class that a page lacks or has another default for."""
    known = documented(page)
    wanted = {name: default_text(settings.model_fields[name]) for name in inherited.model_fields}
    return [f"{name} = {text}, not {known.get(name)}" for name, text in wanted.items() if known.get(name) != text]


@pytest.mark.parametrize(
    ("settings", "page", "inherited"),
    [
        (MasterSettings, CONFIGURATION, ConnectionLimits),
        (MasterSettings, CONFIGURATION, BodyLimits),
        (CacheSettings, CACHE, ConnectionLimits),
    ],
    ids=["master: connections", "master: bodies", "cache: connections"],
)
def test_limits_of_servers_are_in_the_reference(settings: type[Frozen], page: str, inherited: type[Frozen]) -> None:
    assert wrong_options(settings, page, inherited) == []


def test_limits_of_releases_and_schemas_are_in_the_reference() -> None:
    known = documented(CONFIGURATION)
    fields = MasterSettings.model_fields
    numbers = [
        n for n in fields if n.startswith(("release_", "schema_")) and isinstance(fields[n].default, int | float)
    ]
    assert len(numbers) > 12
    assert [name for name in numbers if known.get(name) != default_text(fields[name])] == []


@pytest.mark.parametrize("options", [OF_NODES, OF_BUILDS], ids=["partitions", "builds"])
def test_limits_of_nodes_are_in_the_reference(options: dict[str, str]) -> None:
    known = documented(CONFIGURATION)
    assert {name: known.get(name) for name in options} == options


def test_bounds_without_an_option_are_in_the_reference() -> None:
    table = read(CONFIGURATION).text.partition("### Bounds without an option")[2].partition("\n## ")[0]
    assert [int(number) for number in re.findall(r"\| (\d+) \|$", table, re.MULTILINE)] == [
        MAX_REPORTS,
        MAX_PROMISES,
        MAX_SERIES,
        MAX_LOG_LINES,
        MAX_LINE_LENGTH,
        MAX_MESSAGE_LENGTH,
        MAX_LOG_LENGTH,
        MAX_VALUES_SIZE,
        MAX_DEPTH,
        LONGEST_WAIT,
    ]


def test_every_count_of_refusals_is_in_the_reference() -> None:
    text = read(CONFIGURATION).text
    assert [refusal for refusal in Refusal if f"`{refusal}`" not in text] == []
