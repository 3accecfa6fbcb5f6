"""A slapproxy that answers what the real one of slapos.core 1.26.1 answered when slapproxy.json was recorded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from slap.client.identity import PartitionIdentity
from slap.client.slapos.master import SlaposMaster
from slap.system.clock import FakeClock
from slap.system.marshal import loads
from slap.system.transport import Reply

URL = "http://proxy:5000"
RECORDED: dict[str, tuple[int, str]] = json.loads(
    Path(__file__).with_suffix(".json").with_stem("slapproxy").read_text()
)

Rules = Mapping[str, str | list[str]]

BUSY: Rules = {"GET getFullComputerInformation": "busy computer"}
LISTS: Rules = {
    **BUSY,
    "GET getHateoasUrl": "no hateoas url",
    "GET hateoas/": "hateoas root",
    "GET hateoas/ Instance Tree": "trees",
    "GET hateoas/ web": "tree web",
    "GET hateoas/ nope": "no tree",
    "GET hateoas/ Compute Node": "computers",
    "GET hateoas/shared/pooled": "shared pooled",
}


@dataclass(frozen=True)
class Sent:
    """One request that came."""

    path: str
    form: Mapping[str, str]
    headers: Mapping[str, str]

    def meant(self, field_name: str) -> object:
        """A field of the form that is marshalled."""
        return loads(self.form[field_name])


@dataclass
class Proxy:
    """Answers by method and path with what was recorded under a name; of several names one after the other."""

    rules: Rules
    sent: list[Sent] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, timeout: float) -> Reply:
        parts = urlsplit(url)
        form = {name: values[0] for name, values in parse_qs((body or b"").decode(), keep_blank_values=True).items()}
        path = parts.path.removeprefix("/")
        if method == "POST":
            self.sent.append(Sent(path, form, headers))
        status, text = RECORDED[self._name(f"{method} {path}", parts.query)]
        return Reply(status, text.encode())

    def posted(self, path: str) -> list[Sent]:
        return [each for each in self.sent if each.path == path]

    def master(self, identity: PartitionIdentity | None = None) -> SlaposMaster:
        return SlaposMaster(URL, self, identity, self.clock)

    def _name(self, key: str, query: str) -> str:
        """The rule with the longest of the words that the query has in it."""
        asked = parse_qs(query).get("query", [""])[0]
        words = [rule for rule in self.rules if rule.split(" ", 2)[:2] == key.split(" ")]
        fitting = [rule for rule in words if all(f'"{word}"' in asked for word in rule.split(" ", 2)[2:])]
        found = self.rules[max(fitting, key=lambda rule: (asked.find(rule.split(" ", 2)[-1]), len(rule)))]
        return found if isinstance(found, str) else found.pop(0) if len(found) > 1 else found[0]
