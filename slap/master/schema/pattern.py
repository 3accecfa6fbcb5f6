"""Patterns of JSON Schema, which are regular expressions of ECMA 262 with the flag `u`.

The validator's engine reads most of that syntax as ECMA 262 means it. `normalise_pattern` writes the rest in the part that
it does: one way to write a code point, classes without literals of a special meaning, word boundaries of ASCII words. What
it cannot write, and what is no pattern of ECMA 262, is refused in words. A punctuation character may have a backslash even
where the flag `u` forbids it, for many schemas have such.
"""

import re

_CODE_POINT = r"""
    u(?P<high>[dD][89abAB][0-9A-Fa-f]{2})\\u(?P<low>[dD][c-fC-F][0-9A-Fa-f]{2})
  | u\{(?P<braced>0*[0-9A-Fa-f]{1,6})\} | u(?P<four>[0-9A-Fa-f]{4}) | x(?P<two>[0-9A-Fa-f]{2})
  | c(?P<control>[A-Za-z]) | (?P<zero>0)(?![0-9]) | (?P<short>[fnrtv]) | (?P<same>[^A-Za-z0-9])
"""
_SET = r"[dDwWsS] | [pP]\{[A-Za-z_]+(?:=[A-Za-z0-9_]+)?\}"
_TERM = re.compile(
    rf"""
    (?P<repeat>(?:[*+?] | \{{(?P<least>[0-9]+)(?:,(?P<most>[0-9]*))?\}})\??)
  | (?P<open>\((?:\?(?:[:=!] | <[=!] | <(?P<name>[A-Za-z_$][\w$]*)>))?)
  | (?P<close>\))
  | (?P<class>\[\^?)
  | (?P<edge>[\^$|])
  | (?P<any>\.)
  | (?P<boundary>\\[bB])
  | (?P<set>\\(?:{_SET}))
  | \\(?:{_CODE_POINT})
  | (?P<character>[^\\])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_CLASS_TERM = re.compile(
    rf"(?P<end>\]) | (?P<set>\\(?:{_SET})) | (?P<backspace>\\b) | \\(?:{_CODE_POINT}) | (?P<character>[^\\])",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_SHORT = {"f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_SPECIAL = frozenset("^$\\.*+?()[]{}|")
_SPECIAL_IN_CLASS = frozenset("\\]-^[&~")
_WORD = "[0-9A-Za-z_]"
# The engine's own boundaries are those of words in any script.
_BOUNDARIES = {
    r"\b": f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
    r"\B": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
}
_LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!")
_MOST_DIGITS = 9  # no engine repeats anything that often
_NOT_REPEATED = ("repeat", "open", "edge", "boundary")


class PatternError(ValueError):
    """A pattern is not of ECMA 262, or asks for what cannot be offered; its text says what and where."""


def normalise_pattern(pattern: str) -> str:
    """The pattern as the validator's engine reads it with the meaning of ECMA 262; raises PatternError."""
    return _Reader(pattern).read()


class _Reader:
    """Reads a pattern once, from left to right, without recursion: its cost is linear."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._open: list[str] = []  # how each group began that is not closed yet
        self._can_repeat = False  # whether a quantifier may come next
        self._names: set[str] = set()

    def read(self) -> str:
        written = []
        while self._at < len(self._pattern):
            found = self._match(_TERM)
            could_repeat, self._can_repeat = self._can_repeat, found.lastgroup not in _NOT_REPEATED
            written.append(self._term(found, could_repeat))
        if self._open:
            raise self._error("a group is not closed")
        return "".join(written)

    def _term(self, found: re.Match[str], could_repeat: bool) -> str:
        match found.lastgroup:
            case "repeat":
                self._check_repeat(found, could_repeat)
            case "open":
                return self._open_group(found)
            case "close":
                self._close_group()
            case "class":
                return self._class(found[0])
            case "any":
                return "[^\\n\\r\\u2028\\u2029]"
            case "boundary":
                return _BOUNDARIES[found[0]]
            case "edge" | "set":
                pass
            case _:
                return _written(self._code_point(found), _SPECIAL)
        return found[0]

    def _match(self, term: re.Pattern[str]) -> re.Match[str]:
        found = term.match(self._pattern, self._at)
        if found is None:
            raise self._error(_why_unknown(self._pattern[self._at + 1 : self._at + 2]))
        self._at = found.end()
        return found

    def _check_repeat(self, found: re.Match[str], could_repeat: bool) -> None:
        if not could_repeat:
            raise self._error(f"there is nothing that {found[0]} could repeat")
        least, most = (int((found[name] or "0")[:_MOST_DIGITS]) for name in ("least", "most"))
        if found["most"] and least > most:
            raise self._error(f"the numbers of {found[0]} are out of order")

    def _open_group(self, found: re.Match[str]) -> str:
        """All groups but lookaround are written as plain ones: the engine repeats those even when they are empty."""
        name = found["name"]
        if name in self._names:
            raise self._error(f"a second group has the name {name}")
        self._names |= {name} if name else set()
        self._open.append(found[0])
        return found[0] if found[0] in _LOOKAROUND else "("

    def _close_group(self) -> None:
        if not self._open:
            raise self._error("there is no group to close")
        self._can_repeat = self._open.pop() not in _LOOKAROUND

    def _class(self, start: str) -> str:
        members: list[str] = []
        while not (first := self._match_in_class())["end"]:
            members += self._members(first)
        if members:
            return f"{start}{''.join(members)}]"
        return "[\\s\\S]" if start == "[^" else "[^\\s\\S]"

    def _members(self, first: re.Match[str]) -> list[str]:
        """One member of a class, or a range of them; a hyphen beside a set is a hyphen."""
        if not self._pattern.startswith("-", self._at) or self._pattern.startswith("-]", self._at):
            return [self._member(first)]
        self._at += 1
        last = self._match_in_class()
        if first["set"] or last["set"]:
            return [self._member(first), "\\-", self._member(last)]
        if self._code_point(first) > self._code_point(last):
            raise self._error(f"the range {first[0]}-{last[0]} is out of order")
        return [self._member(first), "-", self._member(last)]

    def _match_in_class(self) -> re.Match[str]:
        if self._at >= len(self._pattern):
            raise self._error("a class is not closed")
        return self._match(_CLASS_TERM)

    def _member(self, found: re.Match[str]) -> str:
        return found[0] if found["set"] else _written(self._code_point(found), _SPECIAL_IN_CLASS)

    def _code_point(self, found: re.Match[str]) -> int:
        code = _code_of({name: text for name, text in found.groupdict().items() if text is not None})
        if 0xD800 <= code < 0xE000:
            raise self._error("half of a surrogate pair stands for no character")
        if code > 0x10FFFF:
            raise self._error("there is no such character")
        return code

    def _error(self, reason: str) -> PatternError:
        return PatternError(f"Before character {self._at + 1}, {reason}.")


def _code_of(found: dict[str, str]) -> int:
    """The code point that the groups of a term stand for."""
    match found:
        case {"high": high, "low": low}:
            return 0x10000 + ((int(high, 16) - 0xD800) << 10) + (int(low, 16) - 0xDC00)
        case {"braced": digits} | {"four": digits} | {"two": digits}:
            return int(digits, 16)
        case {"control": letter}:
            return ord(letter) % 32
        case {"short": letter}:
            return _SHORT[letter]
        case {"same": character} | {"character": character}:
            return ord(character)
    return 8 if "backspace" in found else 0


def _written(code: int, special: frozenset[str]) -> str:
    character = chr(code)
    if character in special:
        return f"\\{character}" if character in _SPECIAL or character == "-" else f"\\u{code:04x}"
    return character if character.isprintable() else f"\\u{{{code:x}}}"


def _why_unknown(character: str) -> str:
    if not character:
        return "a backslash is the end"
    if character in "123456789k":
        return "a backreference asks for what no engine finds in bounded time; write out what it may be"
    return f"\\{character} is no escape of ECMA 262"
