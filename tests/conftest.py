"""What all tests share."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lint: the linters as tests; `make lint` runs the same tools by themselves")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes that nobody can read are named by their argument: what was compressed or signed differs from one
    process to the next, and processes that share the tests must give them the same names."""
    readable = not isinstance(val, bytes) or (val.isascii() and len(val) < 60)
    return None if readable else argname
