"""Packages that take longer to load than most commands take to run, and that few of them use."""

import importlib
from typing import Any


class Later:
    """A module that is loaded when something of it is first used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)
