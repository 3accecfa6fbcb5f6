"""Buildout's record of installed parts (.installed.cfg), which the owner of its folder may have forged."""

import io
from pathlib import Path

import zc.buildout.configparser

from slap.model.errors import InvalidInput
from slap.system.trust.untrusted_files import read_owned

Sections = dict[str, dict[str, str]]

_MAX_RECORD_BYTES = 32 << 20


def read_record(path: Path) -> Sections:
    """The sections of a record. Raises InvalidInput for one whose section headers carry an expression.

    `zc.buildout.configparser` evaluates those with `eval`. They are for profiles; buildout itself never writes one.
    """
    try:
        text = read_owned(path.parent, path.name, None, _MAX_RECORD_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read.", f"{error.strerror}: it is no ordinary file.", _REPAIR) from error
    if len(text) > _MAX_RECORD_BYTES:
        raise InvalidInput(f"{path} is larger than {_MAX_RECORD_BYTES} bytes.", resolution=_REPAIR)
    return parse_record(text, str(path))


def parse_record(text: str, name: str) -> Sections:
    """Like read_record(), from a text; `name` is for errors."""
    for number, line in enumerate(io.StringIO(text), 1):
        header = zc.buildout.configparser.section_header(line)
        if header and header.group("expression") is not None:
            raise InvalidInput(
                f"{name}, line {number}: the header of a section has an expression.",
                "Buildout would evaluate it, and never writes one itself: somebody changed this file.",
                _REPAIR,
            )
    try:
        sections: Sections = zc.buildout.configparser.parse(io.StringIO(text), name)
    except zc.buildout.configparser.Error as error:
        raise InvalidInput(f"{name} is no record of buildout.", str(error), _REPAIR) from error
    return sections


_REPAIR = "Remove this file: the next run installs all parts anew."
