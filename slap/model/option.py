"""Values of buildout options that are not strings, as text: what SlapOS profiles write as !py!{...}.

SlapOS's buildout keeps lists, dictionaries and numbers in options, and writes them into profiles and into .installed.cfg
as a magic word and a Python literal. Here that is read as a literal and nothing else: no text can make Python run.
"""

import ast
import math
import re
from collections.abc import Mapping
from typing import Any

MAGIC = "!py!"
# What a literal can hold; a subclass of one of these is taken as what it is a kind of.
_PLAIN = (str, bytes, bool, int, float)
_UNFIT_FOR_FILE = re.compile(r"[^\n -#&-~]")  # all but printable ASCII without $ and %
# Buildout looks for ${section:option} and %(space)s in what it reads.
_ESCAPES = str.maketrans({"$": "\\x24", "%": "\\x25"})
_DEEPEST = 50


def dumps(value: Any) -> str:
    """A value as one line of text that `loads` understands; raises TypeError for what is not plain data."""
    return MAGIC + ascii(plain(value)).translate(_ESCAPES)


def loads(text: str) -> Any:
    """The value that a text stands for; raises ValueError when it is none."""
    try:
        return ast.literal_eval(text.removeprefix(MAGIC).strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"{text[:80]!r} is not a value after {MAGIC}: {error}") from None


def read(text: str) -> Any:
    """What an option's text in a file means: a value after the magic word, otherwise the text itself."""
    return loads(text) if text.startswith(MAGIC) else text


def as_text(value: Any) -> str:
    """A value put into the middle of a text: strings as they are."""
    return value if isinstance(value, str) else dumps(value)


def for_file(value: Any) -> str:
    """A value as it can stand in .installed.cfg: nothing in it starts a line, or is read as an expression of buildout."""
    if isinstance(value, str) and not value.startswith(MAGIC) and not _UNFIT_FOR_FILE.search(value):
        return value
    return dumps(value)


def plain(value: Any, depth: int = 0) -> Any:
    """A copy that is made of lists, dictionaries, sets, strings, numbers and nothing else."""
    if depth > _DEEPEST:
        raise TypeError("A value that is nested so deeply cannot be an option.")
    if value is None or (isinstance(value, _PLAIN) and not (isinstance(value, float) and not math.isfinite(value))):
        return _base(value)
    if isinstance(value, Mapping):
        return {plain(key, depth + 1): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, set | frozenset):
        return {plain(each, depth + 1) for each in value}
    if isinstance(value, list):
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, tuple):
        return tuple(plain(each, depth + 1) for each in value)
    raise TypeError(f"Options can hold strings, numbers, lists, dictionaries and sets, not {value!r:.80}.")


def _base(value: Any) -> Any:
    """Without what a subclass adds, such as a text marked as safe by a template."""
    kinds = [kind for kind in _PLAIN if isinstance(value, kind)]
    return value if not kinds or type(value) is kinds[0] else kinds[0](value)
