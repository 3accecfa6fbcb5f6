"""Patterns of schemas against node.js, whose regular expressions are those of ECMA 262."""

import json
from itertools import product
from typing import Any

from slap.master.schema.validator import UnusableSchema, compile_schema
from slap.system import environment
from slap.system.process import Command, SystemRunner

ATOMS = [
    "a", "b", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", r"\b", r"\B", r"\n", r"\0", r"\cJ", r"\x41", r"\u0041",
    r"\u{1F600}", r"\ud83d\ude00", r"\/", r"\.", r"\$", "[ab]", "[^a]", "[^]", "[]", r"[\d-]", r"[\w.]", r"[\b]", "[a-c]",
    r"[\]\[]", "[&&a]", "[a--b]", "[b-a]", "[[a]", "[~~]", r"[\s\S]", r"[^\D]", r"[\u{1F600}-\u{1F64F}]", r"\p{Lu}",
    r"\P{L}", r"\p{Script=Greek}", r"\p{Script_Extensions=Latin}", "(a)", "(?:a|b)", "(?<n>a)", "(?=a)", "(?!a)", "(?<=a)",
    "(?<!a)", "(", ")", "[", "(?i)", "(?P<n>a)", "^", "$", "|", "(?:a|)", "(?:)", "(?:(?=a))", "(?<n>a)(?<n>b)",
]  # fmt: skip
ENDS = ["", "+", "*?", "{2}", "{1,}", "{2,1}", "?", "**", "$", "|b"]
TEXTS = [
    "", "a", "b", "A", "ab", "aa", "ba", "a\n", "\n", "\r", "\u2028", "\x00", "\b", " ", "\ufeff", "\x1c", "\x85", "1", "12",
    "\u0663", "é", "éa", "aé", "É", "\u03a9", "😀", "/", ".", "$", "[", "]", "&", "~", "-", "_", "\ufb01", "\u0130", "\u017f",
]  # fmt: skip
JUDGE = """
const [patterns, texts] = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(patterns.map(pattern => {
  try { const judge = new RegExp(pattern, "u"); return texts.map(text => judge.test(text)); } catch (error) { return null; }
})));
"""


def _ours(pattern: str) -> list[bool] | None:
    try:
        validator = compile_schema({"pattern": pattern})
    except UnusableSchema:
        return None
    return [validator.is_valid(text) for text in TEXTS]


def _of_node(patterns: list[str]) -> list[Any]:
    argv = (environment.program("node", "nodejs"), "-e", JUDGE)
    done = SystemRunner().run(Command(argv, stdin=json.dumps([patterns, TEXTS]), timeout=60)).check()
    found: list[Any] = json.loads(done.stdout)
    return found


def test_patterns_mean_what_node_says() -> None:
    """What node refuses may be taken: many schemas escape what need not be escaped, and a stray brace stands for itself."""
    patterns = [f"^{atom}{end}" for atom, end in product(ATOMS, ENDS)] + [
        f"{atom}{end}" for atom, end in product(ATOMS, ENDS)
    ]
    judged = list(zip(patterns, _of_node(patterns), map(_ours, patterns), strict=True))
    assert [pattern for pattern, node, ours in judged if node is not None and ours != node] == []
    refused = [pattern for pattern, node, ours in judged if node is None and ours is None]
    assert sum(node is not None for _, node, _ in judged) > 700
    assert len(refused) > 200
