"""What all tests share."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-databases", action="store_true", help="test the master on PostgreSQL throughout")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lint: the linters as tests; `make lint` runs the same tools by themselves")
    config.addinivalue_line("markers", "first: begins before all others, which go on beside it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("first") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that nobody can read are named by their argument: what was compressed or signed differs from one
    process to the next, and processes that share the tests must give them the same names."""
    readable = not isinstance(val, bytes) or (val.isascii() and len(val) < 60)
    return None if readable else argname
