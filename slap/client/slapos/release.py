"""What a software release declares of its parameters, read only as far as an order has to know it."""

import json
from pathlib import Path
from typing import Any

from slap.model.errors import SlapError
from slap.model.serialisation import Serialisation
from slap.system.http import fetch_text

_LARGEST = 1 << 20
_PATIENCE = 5.0


def declared_serialisation(url: str, software_type: str) -> Serialisation:
    """What software.cfg.json says for the type, or else for the release; NONE where nothing can be read."""
    try:
        document = json.loads(_read(f"{url}.json"))
    except (SlapError, OSError, ValueError):
        return Serialisation.NONE
    types = document.get("software-type") if isinstance(document, dict) else None
    own = types.get(software_type) if isinstance(types, dict) else None
    return _declared(own) or _declared(document)


def _declared(said: Any) -> Serialisation:
    word = said.get("serialisation") if isinstance(said, dict) else None
    return Serialisation(word) if word in set(Serialisation) else Serialisation.NONE


def _read(url: str) -> str:
    if url.startswith(("http://", "https://")):
        return fetch_text(url, _LARGEST, _PATIENCE)
    with Path(url).open() as file:
        return file.read(_LARGEST)
