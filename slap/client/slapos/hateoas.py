"""List services and computers of a SlapOS master through HATEOAS."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urljoin

from slap.client.slapos.documents import Values
from slap.client.slapos.http import SlapToolClient, unreadable_answer
from slap.model.errors import NotFound, NotOffered
from slap.model.serialisation import unwrap
from slap.model.slapos.xml import parse_xml

_TREES = 'portal_type:"Instance Tree" AND validation_state:validated'
_COMPUTERS = 'portal_type:"Compute Node" AND validation_state:validated'
_COLUMNS = json.dumps(["title", "reference", "url_string", "relative_url"])
_VIEW = "slaposjs_view"
# Masters have a limit of their own, of 10 or 40, when none is given.
_LIMIT = "10000"

Row = Mapping[str, Any]


class Hateoas:
    """The lists of one master."""

    def __init__(self, client: SlapToolClient) -> None:
        self._client = client
        self._links: Mapping[str, Any] = {}

    def trees(self, title: str = "") -> list[Row]:
        """The root instances, or the one of that title."""
        return self._search(f"{_TREES} AND title:={_quoted(title)}" if title else _TREES)

    def computers(self) -> list[Row]:
        return self._search(_COMPUTERS)

    def document(self, row: Row) -> Row:
        """The fields of what a row stands for, by their names."""
        where = str(row.get("relative_url", ""))
        if where.startswith("/"):
            url = urljoin(self._client.base + "/", where)
        else:
            url = expand(self._link("traverse"), relative_url=where, view=_VIEW)
        fields = _mapping(_mapping(self._read(url).get("_embedded")).get("_view"))
        return {name.removeprefix("my_"): field["default"] for name, field in fields.items() if _has_default(field)}

    def computer_token(self) -> str:
        """A token by which a computer can be registered, once."""
        answer = self._read(self._link("self") + "/computer_module/Base_getComputerToken")
        return str(answer.get("access_token", ""))

    def _search(self, query: str) -> list[Row]:
        url = expand(self._link("raw_search"), query=query, select_list=_COLUMNS, limit=_LIMIT)
        rows = _mapping(self._read(url).get("_embedded")).get("contents")
        if not isinstance(rows, list):
            raise unreadable_answer(f"{url.split('?')[0]} has no list of contents.")
        return [_mapping(row) for row in rows]

    def _link(self, name: str) -> str:
        self._links = self._links or _mapping(self._read(self._root()).get("_links"))
        href = _mapping(self._links.get(name)).get("href")
        if not href:
            raise NotOffered("This master does not offer that.", f"Its HATEOAS has no link {name!r}.", "")
        return str(href)

    def _root(self) -> str:
        """slapproxy does not say where it is."""
        try:
            return self._client.get("getHateoasUrl").decode().strip()
        except NotFound:
            return f"{self._client.base}/hateoas/"

    def _read(self, url: str) -> dict[str, Any]:
        try:
            return _mapping(json.loads(self._client.fetch(url)))
        except ValueError as error:
            raise unreadable_answer(f"{url.split('?')[0]} is not JSON: {error}.") from error


def values_of(document: object) -> Values:
    """Parameters from <instance><parameter id="NAME">TEXT</parameter></instance>, or from a list of pairs of ERP5."""
    if isinstance(document, list):
        pairs = {str(each.get("connection_key")): each.get("connection_value") for each in map(_mapping, document)}
        return Values(*unwrap(pairs))
    text = document if isinstance(document, str) else ""
    try:
        root = parse_xml(text if text.strip() else "<instance/>")
    except ValueError as error:
        raise unreadable_answer(f"Parameters cannot be read: {error}.") from error
    return Values(*unwrap({each.get("id", ""): each.text or "" for each in root.iterfind("parameter")}))


def expand(template: str, **values: str) -> str:
    """A URI template, of the few forms that masters use: {name}, {&name}, {?name,name} and {&name*}."""
    for name, value in values.items():
        pair = f"{name}={quote(value, safe='')}"
        for form, text in ((f"{{{name}}}", quote(value, safe="")), (f"{{&{name}}}", f"&{pair}")):
            template = template.replace(form, text)
    return _expand_list(template, values)


def _expand_list(template: str, values: Mapping[str, str]) -> str:
    head, opening, rest = template.partition("{")
    inside, closing, tail = rest.partition("}")
    if not (opening and closing):
        return template
    names = [name.rstrip("*") for name in inside.lstrip("?&").split(",")]
    pairs = "&".join(f"{name}={quote(values[name], safe='')}" for name in names if name in values)
    joint = inside[0] if inside[:1] in ("?", "&") and pairs else ""
    return head + joint + pairs + _expand_list(tail, values)


def _quoted(title: str) -> str:
    escaped = title.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _has_default(field: object) -> bool:
    return isinstance(field, Mapping) and "default" in field


def _mapping(value: object) -> dict[str, Any]:
    return {str(name): each for name, each in value.items()} if isinstance(value, Mapping) else {}
