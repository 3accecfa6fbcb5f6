"""What all tests share."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lint: the linters as tests; `make lint` runs the same tools by themselves")
