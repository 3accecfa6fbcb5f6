"""Values that were ordered or published, as people read them."""

import json
from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len, set_cell_size

_GAP = "  "


def in_words(value: Any) -> str:
    """Text as it is, objects of one shape as a table with a line for each, and anything else as JSON."""
    if isinstance(value, str):
        return value
    if _is_table(value):
        return _table(value)
    return json.dumps(value, indent=2, ensure_ascii=False)


def _is_table(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(row, Mapping) and row for row in value.values())
    )


def _table(value: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in value.values() for name in row))
    rows = [["", *names], *([key, *(_cell(row.get(name)) for name in names)] for key, row in value.items())]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(_GAP.join(map(set_cell_size, row, widths)).rstrip() for row in rows)


def _cell(value: Any) -> str:
    """In one line. Of an object only its keys: what they lead to would not fit."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(value)
    return " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
