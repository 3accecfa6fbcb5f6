"""Run pip in forks of the build that have it loaded, in place of one Python process a package.

A release of SlapOS has seventy packages and more, and to start Python and load pip takes longer than to unpack most of them.
"""

import importlib
import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn

from zc.buildout import easy_install

from slap.system import environment

log = logging.getLogger("zc.buildout")

_LOADED = ("pip._internal.cli.main", "pip._internal.commands.install")
_stock_output = easy_install.get_subprocess_output


def speak() -> None:
    easy_install.get_subprocess_output = _output


def _output(argv: Sequence[str], **how: Any) -> str:
    """The output of a command; raises an error that names the command when it fails."""
    if list(argv[:3]) != [sys.executable, "-m", "pip"]:
        return str(_stock_output(argv, **how))
    for name in _LOADED:
        importlib.import_module(name)
    with tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            _become_pip(argv[3:], how["env"], said)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said.seek(0)
        text = said.read().decode(errors="replace")
    if status:
        log.error("%s ended with status %s and said:\n%s", " ".join(argv), status, text)
        raise RuntimeError(f"pip could not install {argv[-1]}.")
    return text


def _become_pip(words: Sequence[str], env: Mapping[str, str], output: IO[bytes]) -> NoReturn:
    status = 1
    try:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
        sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 (lives as long as this process)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        environment.become(dict(env))
        main = importlib.import_module(_LOADED[0]).main
        status = int(main(list(words)) or 0)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    finally:  # whatever happened: nothing of this goes on as a second build
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
