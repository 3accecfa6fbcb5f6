"""Stands in for zope.interface and slapos.grid.promise.interface where a release has neither: what plugins use of them."""

# ruff: noqa: N802 (the names are SlapOS's)

from collections.abc import Callable
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)


class PromiseError(Exception):
    """A promise failed."""


class Interface:
    """Something that a class can say that it implements."""

    implemented: set[type] = set()

    @classmethod
    def implementedBy(cls, other: type) -> bool:
        return any(base in cls.implemented for base in other.__mro__)


class IPromise(Interface):
    """A promise."""

    implemented: set[type] = set()


def implementer(*interfaces: Any) -> Callable[[Class], Class]:
    def mark(cls: Class) -> Class:
        for interface in interfaces:
            interface.implemented.add(cls)
        return cls

    return mark
