"""A bill of materials and a provenance in a few lines. Whoever wrote them was trusted to build, not to be well-formed."""

from collections import Counter
from typing import Any

_MOST = 40  # lines
_LONGEST = 160


def sbom_words(document: Any) -> str:
    """How many components there are, and which."""
    components = [each for each in _list(_get(document, "components")) if isinstance(each, dict)]
    if not components:
        return ""
    kinds = Counter(_kind(each) for each in components)
    counts = ", ".join(f"{count} {kind}{'s' * (count != 1)}" for kind, count in sorted(kinds.items()))
    names = sorted(f"{_text(each.get('name'))} {_text(each.get('version'))}".strip() for each in components)
    more = [f"... and {len(names) - _MOST} more (-f json has all)"] if len(names) > _MOST else []
    return "\n".join([counts, *names[:_MOST], *more])


def provenance_words(document: Any) -> str:
    """By whom, when, and from which sources."""
    predicate = _get(document, "predicate")
    build, run = _get(predicate, "buildDefinition"), _get(predicate, "runDetails")
    builder, times = _get(run, "builder"), _get(run, "metadata")
    if not isinstance(run, dict):
        return ""
    sources = [each for each in _list(_get(build, "resolvedDependencies")) if isinstance(each, dict)]
    lines = [
        f"{_text(_get(builder, 'id'))}, {_text(_get(_get(builder, 'version'), 'slap'))}",
        f"{_text(_get(times, 'startedOn'))} to {_text(_get(times, 'finishedOn'))}",
        *(_text(each.get("uri") or each.get("name")) for each in sources[:_MOST]),
    ]
    return "\n".join(line for line in lines if line.strip(", "))


def _kind(component: dict[str, Any]) -> str:
    """By its purl: package of pypi, deb, npm; sources without one are files."""
    purl = _text(component.get("purl"))
    return f"{purl.removeprefix('pkg:').partition('/')[0]} package" if purl.startswith("pkg:") else "file"


def _get(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
