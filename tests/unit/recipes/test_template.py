"""Templates, in the real buildout."""

from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread

import pytest

from slap.recipes.common.base import RecipeError
from slap.recipes.template import render
from tests.unit.recipes.instance import Partition

PROFILE = """
[it]
recipe = slap:template
output = ${{buildout:directory}}/etc/out
{options}

[other]
text = hello
secret-name = x
"""


def read(partition: Partition, options: str) -> None:
    with partition.read(PROFILE.format(options=options)) as buildout:
        buildout["it"].recipe.install()


def refused(partition: Partition, options: str) -> str:
    with pytest.raises(RecipeError) as caught:
        read(partition, options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("context", "text", "expected"),
    [
        ("key a other:text", "{{ a }}", "hello"),
        ("section s other", "{{ s['secret-name'] }} {{ s.text }}", "x hello"),
        ("raw a two words", "{{ a }}", "two words"),
        ('json a {"b": [1, 2]}', "{{ a.b | sum }} {{ a | tojson }}", '3 {"b": [1, 2]}'),
        ("raw a <&>", "{{ a }} {{ dumps(a) }}", '<&> "<&>"'),
        ("raw a x", "$${buildout:directory} %% {{ a }}", "${buildout:directory} %% x"),
        ("raw a x", "{% for i in 'ab' %}\n  [{{ i }}]\n  {% endfor %}", "\n  [a]\n  \n  [b]\n"),
    ],
)
def test_a_template_knows_what_its_context_says(context: str, text: str, expected: str, partition: Partition) -> None:
    read(partition, f"context = {context}\ninline = {text.replace(chr(10), chr(10) + ' ')}")
    assert " ".join(partition.text("etc/out").split()) == " ".join(expected.split())


def test_substitutions_for_a_second_buildout_pass_through(partition: Partition) -> None:
    (partition.folder / "in").write_text("[x]\npath = ${buildout:directory}/{{ a }}\n")
    read(partition, "input = in\ncontext = raw a b")
    assert partition.text("etc/out") == "[x]\npath = ${buildout:directory}/b\n"


def test_a_template_may_lie_beside_a_profile_on_the_network(partition: Partition) -> None:
    (partition.folder / "in").write_text("{{ a }}")
    serve = partial(SimpleHTTPRequestHandler, directory=str(partition.folder))
    with HTTPServer(("127.0.0.1", 0), serve) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        read(partition, f"input = {base}/in\ncontext = raw a b")
        assert partition.text("etc/out") == "b"
        assert "404" in refused(partition, f"input = {base}/nowhere")
        server.shutdown()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one\n{{ wrong }}\n", ("line 2", "'wrong' is undefined", "It knows: a.")),
        ("one\ntwo\n{{ a.b }}", ("line 3", "no attribute 'b'")),
        ("one\n{% if %}", ("line 2",)),
        ("{{ 1 / 0 }}", ("line 1", "division by zero")),
        ("{{ a + 1 }}", ("line 1",)),
        ("{{ a.__class__.__mro__ }}", ("line 1", "unsafe")),
        ("one\n{% include 'nowhere' %}", ("line 2", "nowhere")),
    ],
)
def test_what_fails_in_a_template_is_told_with_its_line(text: str, words: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as caught:
        render("it", "/x/template", text, {"a": "x"})
    for expected in ("[it]", "/x/template", *words):
        assert expected in str(caught.value)


def test_an_error_in_an_included_template_names_that_one(tmp_path: Path) -> None:
    (tmp_path / "inner").write_text("fine\n{{ wrong }}")
    with pytest.raises(RecipeError, match=r"inner fails in line 2"):
        render("it", str(tmp_path / "outer"), "{% include 'inner' %}", {})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "input or inline: give exactly one"),
        ("input = nowhere", "Part [it] failed: [Errno 2] No such file or directory: "),
        ("inline = x\nmode = 9", "option mode is '9'"),
        ("inline = x\noutput = /etc/passwd", "/etc/passwd"),
        ("inline = x\ncontext = kee a other:text", "write key NAME section:option"),
        ("inline = x\ncontext = key a-b other:text", "'key a-b other:text'"),
        ("inline = x\ncontext = key a nowhere:text", "'nowhere': there is no such section"),
        ("inline = x\ncontext = key a other:test", "no such option; [other] has secret-name, text"),
        ("inline = x\ncontext = json a {", "is not JSON"),
    ],
)
def test_wrong_options_are_told(options: str, words: str, partition: Partition) -> None:
    assert words in refused(partition, options)


def test_only_what_changed_is_written_and_nobody_else_reads_it(partition: Partition) -> None:
    read(partition, "inline = x")
    written = (partition.folder / "etc/out").stat()
    read(partition, "inline = x")
    assert (partition.folder / "etc/out").stat() == written
    assert written.st_mode & 0o777 == 0o600
    read(partition, "inline = x\nmode = 755")
    assert (partition.folder / "etc/out").stat().st_mode & 0o777 == 0o755


def test_a_parameter_adds_no_names_and_runs_nothing(partition: Partition) -> None:
    evil = "x\nkey stolen other:text {{ stolen }}"
    partition.order(parameters={"p": evil})
    options = "context = raw a ${slap-configuration:parameter.p}\ninline = {{ a }}"
    read(partition, f"{options}\n\n[slap-configuration]\nrecipe = slap:slapconfiguration\n")
    assert partition.text("etc/out").strip() == evil
