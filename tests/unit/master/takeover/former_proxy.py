"""Databases as slapproxies of several versions left them."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_tables(file: Path, version: int, tables: dict[str, Iterable[Row]]) -> Path:
    """A database with these rows, in tables that carry this version in their names."""
    with closing(sqlite3.connect(file)) as connection, connection:
        for name, rows in tables.items():
            found = list(rows)
            columns = list(dict.fromkeys(column for row in found for column in row)) or ["reference"]
            connection.execute(f"CREATE TABLE {name}{version} ({', '.join(columns)})")
            for row in found:
                marks = ", ".join(f":{column}" for column in row)
                connection.execute(f"INSERT INTO {name}{version} ({', '.join(row)}) VALUES ({marks})", row)
    return file


def parameters(**values: str) -> str:
    inside = "".join(f'<parameter id="{name}">{value}</parameter>' for name, value in values.items())
    return f"<?xml version='1.0' encoding='utf-8'?>\n<instance>{inside}</instance>"


def busy(name: str, title: str, **more: Any) -> Row:
    """A partition with an instance in it."""
    row = {
        "reference": name,
        "computer_reference": "local_computer",
        "slap_state": "busy",
        "software_release": "/releases/web/software.cfg",
        "software_type": "default",
        "xml": parameters(),
        "connection_xml": None,
        "slave_instance_list": None,
        "partition_reference": title,
        "requested_by": "",
        "requester_id": "",
        "requested_state": "started",
    }
    return row | more


def free(name: str) -> Row:
    return {
        "reference": name, "computer_reference": "local_computer", "slap_state": "free", "software_release": None,
        "xml": None, "connection_xml": None, "slave_instance_list": None,
    }  # fmt: skip


def network(name: str, address: str) -> Row:
    return {
        "partition_reference": name, "computer_reference": "local_computer", "reference": "lo",
        "address": address, "netmask": "255.255.255.255",
    }  # fmt: skip


def computer() -> Row:
    return {"reference": "local_computer", "address": "127.0.0.1", "netmask": "255.255.255.255"}
