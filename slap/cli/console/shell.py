"""The shells of `slapos console`: Python's own, IPython and bpython where they are installed, and scripts."""

import atexit
import code
import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from slap.cli.output import say, show_error
from slap.model.errors import SlapError, UsageError

HISTORY = ".slapconsolehistory"  # in the home folder; SlapOS's console uses the same

BANNER = """\
slap, request(), supply(), getInformation(), product and software_list() talk to your master; client has its whole API.
  request(product.helloworld, "mine").wait().getConnectionParameterDict()
  supply("URL", "COMPUTER")
"""


class Console(code.InteractiveConsole):
    """Python's console, with our errors in our words."""

    def showtraceback(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, SlapError):
            show_error(error)
        else:
            super().showtraceback()


def interact(shell: str, namespace: dict[str, Any]) -> None:
    """Open a shell: `ipython`, `bpython` or `python`; the first is given up for the last where it is not installed."""
    sys.excepthook = sys.__excepthook__  # what somebody types here is no defect of ours
    module = {"ipython": "IPython", "bpython": "bpython"}.get(shell)
    if module and find_spec(module):
        _embed(module)(namespace)
        return
    if shell == "bpython":
        say("bpython is not installed here; this is Python's own shell.")
    _prepare_line_editing(namespace)
    Console(namespace).interact(banner=BANNER, exitmsg="")


def run_script(path: Path, words: list[str], namespace: dict[str, Any]) -> int:
    """Run a script with our names in it; its exit status. Its own mistakes are shown as Python shows them."""
    try:
        program = compile(path.read_bytes(), str(path), "exec")
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path} is not a Python script.", str(error)) from error
    former, sys.argv = sys.argv, words
    sys.excepthook = sys.__excepthook__
    try:
        exec(program, {**namespace, "__file__": str(path)})
    except SystemExit as end:
        return _status(end.code)
    finally:
        sys.argv = former
    return 0


def _status(end: object) -> int:
    """As Python does it: nothing is success, a number is itself, and words are an error to be shown."""
    if end is None or isinstance(end, int):
        return int(end or 0)
    say(str(end))
    return 1


def _embed(module: str) -> Callable[[Mapping[str, Any]], None]:
    embed = importlib.import_module(module).embed
    if module == "bpython":
        return lambda namespace: embed(banner=BANNER, locals_=namespace)
    return lambda namespace: embed(banner1=BANNER, user_ns=namespace, colors="neutral")


def _prepare_line_editing(namespace: Mapping[str, Any]) -> None:
    """Completion by TAB, and what was typed in former sessions. Some Pythons are built without it."""
    if not find_spec("readline"):
        return
    readline, completer = importlib.import_module("readline"), importlib.import_module("rlcompleter")
    readline.set_completer(completer.Completer(namespace).complete)
    readline.parse_and_bind("tab: complete")
    history = Path.home() / HISTORY
    with suppress(OSError):
        readline.read_history_file(history)
    atexit.register(_save, readline, history)


def _save(readline: Any, history: Path) -> None:
    with suppress(OSError):
        readline.write_history_file(history)
