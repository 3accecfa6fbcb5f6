"""Software releases with mistakes in them, one a folder."""

from pathlib import Path

from tests.system.cloud import SERVICE, release

# Instance profiles.
_PROMISE = "[buildout]\nparts += promise\n[promise]\n"
_ONCE = "[buildout]\nparts = prepare\n[prepare]\nrecipe = slap:service\nonce = true\n"
_FILL = "[buildout]\nparts = big\n[big]\nrecipe = slap:template\noutput = ${buildout:directory}/big\n"

INSTANCES = {
    "good": SERVICE,
    "unsupplied": SERVICE,
    "picky": SERVICE,
    "syntax-in-instance": "[buildout]\nparts = a\n[a\nrecipe = slap:service\n",
    "recipe-in-instance": "[buildout]\nparts = a\n[a]\nrecipe = slap:servic\n",
    "option-in-instance": "[buildout]\nparts = a\n[a]\nrecipe = slap:service\ncomand-line = /bin/true\n",
    "parameter-in-instance": "[buildout]\nparts = a\n[mine]\nrecipe = slap:slapconfiguration\n[a]\n"
    "recipe = slap:service\ncommand-line = /bin/sleep ${mine:parameter.seconds}\n",
    "exits": SERVICE.replace("/bin/sleep 100000", "/bin/sh -c 'echo I cannot find my data; exit 3'"),
    "exits-silently": SERVICE.replace("/bin/sleep 100000", "/bin/false"),
    "no-program": SERVICE.replace("/bin/sleep 100000", "/no/such/program"),
    "fails-once": f"{_ONCE}command-line = /bin/sh -c 'echo I cannot convert; exit 7'\n",
    "hanging": f"{SERVICE}{_PROMISE}recipe = slap:check-command\ncommand-line = /bin/sleep 1000\ntimeout = 1\n",
    "python-promise": f"{SERVICE}{_PROMISE}recipe = slap:template\ninline = x\n"
    "output = ${buildout:directory}/etc/plugin/sense.py\n",
    "closed-port": f"{SERVICE}{_PROMISE}recipe = slap:check-port\nport = 9\n",
    "foreign-port": f"{SERVICE}{_PROMISE}recipe = slap:check-port\nport = 9\naddress = 10.0.0.1\n",
    "large-instance": f"{_FILL}inline = {{% raw %}}{{{{ 'x' * 9000000 }}}}{{% endraw %}}\n",
}

# Files beside or in place of those that a good release has.
FILES = {
    "not-json/schema.json": '{\n  "type": "object",\n  "properties": {,}\n}\n',
    "not-a-schema/schema.json": '{"type": "objekt"}\n',
    "not-a-description/software.cfg.json": '{"software-type": ["default"]}\n',
    "no-schema/software.cfg.json": '{"software-type": {"default": {"request": "elsewhere.json"}}}\n',
    "syntax/software.cfg": "[buildout]\nparts = a\n[a\nrecipe = slap:template\n",
    "section/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:template\noutput = ${nowhere:path}\n",
    "recipe/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:templat\n",
    # The index refuses connections: this is not about any real one.
    "package/software.cfg": "[buildout]\nindex = http://127.0.0.1:9/\nparts = a\n[a]\nrecipe = no.such.recipe\n",
    "extends/software.cfg": "[buildout]\nextends = missing.cfg\n",
    "option/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:template\ninline = a\n",
    "defect/software.cfg": "[buildout]\nparts = a\n[a]\nrecipe = slap:template\noutput = a\ninline = {{ 1 // 0 }}\n",
    "no-instance/software.cfg": "[buildout]\nparts =\n",
    "no-instance-later/software.cfg": "[buildout]\nparts =\n",
    "large/software.cfg": f"{_FILL}inline = {{{{ 'x' * 9000000 }}}}\n",
}

SCHEMA = {
    "type": "object",
    "required": ["port"],
    "additionalProperties": False,
    "properties": {"port": {"type": "integer", "minimum": 1}, "colour": {"type": "string"}},
}


def make_releases(folder: Path) -> None:
    """Write all of them below a folder."""
    for name, instance in INSTANCES.items():
        release(folder / name, instance, SCHEMA if name == "picky" else None)
    for name in ("not-json", "not-a-schema", "not-a-description", "no-schema"):
        release(folder / name, SERVICE, SCHEMA)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
