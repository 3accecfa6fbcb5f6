"""The few queries that clients of SlapOS send to HATEOAS, and nothing else.

    portal_type:"Instance Tree" AND validation_state:validated AND title:="my service"

Clients put names between the quotes as they are, quotes and all, or with backslashes before what is special. No name has a
backslash of its own here, so both are understood: a query is one of the known forms, and all that is left is the name.
"""

import re
from dataclasses import dataclass, field
from enum import StrEnum

from slap.model.errors import InvalidInput

_ESCAPED = re.compile(r'\\([\\"])')


class Kind(StrEnum):
    """What can be searched for, in the words of SlapOS."""

    TREE = "Instance Tree"
    COMPUTER = "Compute Node"
    INSTANCE = "Software Instance"
    SUPPLY = "Software Installation"


_START = "portal_type:{} AND validation_state:validated"


def _form(types: str, *names: str) -> re.Pattern[str]:
    """The query for these types of documents, with at most one filter of each name, in this order."""
    filters = "".join(f'(?: AND {name}:="(?P<{name}>.*?)")?' for name in names)
    return re.compile(re.escape(_START.format(types)) + filters, re.DOTALL)


_FORMS = {
    Kind.TREE: _form('"Instance Tree"', "title"),
    Kind.COMPUTER: _form('"Compute Node"', "title", "reference"),
    Kind.INSTANCE: _form('("Software Instance", "Slave Instance")', "default_specialise_title"),
    Kind.SUPPLY: _form('"Software Installation"', "default_aggregate_reference"),
}


@dataclass(frozen=True)
class Query:
    """What is searched for; of each filter at most one name."""

    kind: Kind
    filters: dict[str, str] = field(default_factory=dict)


def parse(text: str) -> Query:
    """The query that a text is; raises InvalidInput for one that no client sends."""
    if "\0" in text:
        raise InvalidInput("Names have no control characters.")
    for kind, form in _FORMS.items():
        match = form.fullmatch(text)
        if match:
            filters = {name: value for name, value in match.groupdict().items() if value is not None}
            return Query(kind, {name: _ESCAPED.sub(r"\1", value) for name, value in filters.items()})
    raise InvalidInput(
        f"The master does not know this query: {text[:500]}",
        f"""It knows {_START.format('"Instance Tree"')} AND title:="NAME", and the like for """
        f"{', '.join(kind for kind in Kind if kind is not Kind.TREE)}.",
    )
