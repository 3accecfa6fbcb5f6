"""One buildout run, in a process of its own that was forked for it, as the user that it is for."""

import ctypes
import fcntl
import json
import logging
import os
import signal
import sys
import traceback
from hashlib import sha256
from pathlib import Path
from typing import Any

import zc.buildout
import zc.buildout.buildout
import zc.buildout.configparser
import zc.buildout.easy_install
from pydantic import TypeAdapter, ValidationError

from slap.model.check import Check, CommandCheck
from slap.model.errors import InvalidInput, NotReady, SlapError
from slap.model.node import ANSWERED_FILE, CONNECTION_FILE, CONTEXT_FILE
from slap.node.build.job import BuildJob, BuildResult, Outcome
from slap.node.partition.names import check_file_name
from slap.node.store import Installed
from slap.system import environment, files

class _Index(zc.buildout.easy_install.AllowHostsPackageIndex):  # type: ignore[misc]
    """Packages by their names. Buildout's own answers a misspelt one with a search in the list of all that there are."""

    def not_found_in_index(self, requirement: Any) -> None:
        self.warn("There is no package %r in %s", requirement.unsafe_name, self.index_url)


zc.buildout.easy_install.AllowHostsPackageIndex = _Index

_PR_SET_PDEATHSIG = 1  # prctl(2)
_CHECK: TypeAdapter[Check] = TypeAdapter(Check)


def run(job: BuildJob) -> BuildResult:
    """Become the job's user, run buildout, and say what came of it. Only for a process that ends afterwards."""
    _become(job)
    try:
        return _build(job)
    except NotReady as error:
        return BuildResult(id=job.id, outcome=Outcome.WAITING, message=error.brief)
    except SlapError as error:
        return _failed(job, str(error))
    except (zc.buildout.UserError, zc.buildout.configparser.Error, OSError, ImportError) as error:
        return _failed(job, _with_place(error, _reason(error)))
    except Exception as error:  # noqa: BLE001 (whatever a recipe raises is a failed build, never the end of the builder)
        traceback.print_exc()
        return _failed(job, _with_place(error, f"{type(error).__name__}: {error}"))
    finally:
        logging.shutdown()


def _failed(job: BuildJob, message: str) -> BuildResult:
    print(message, flush=True)
    return BuildResult(id=job.id, outcome=Outcome.FAILED, message=message.strip())


def _reason(error: Exception) -> str:
    """What a profile, or the machine, has done to buildout, in words that name it."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ImportError):
        return f"A recipe cannot be loaded: {error}."
    return str(error).strip()


def _with_place(error: Exception, words: str) -> str:
    """With what buildout was doing; it leaves notes on that in its frames."""
    frames = (frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__))
    notes = [frame["__doing__"] for frame in frames if "__doing__" in frame]
    doing = [note if isinstance(note, str) else note[0] % note[1:] for note in notes]
    return "\n".join([words, *(f"While: {each}" for each in doing[-2:])])


def _become(job: BuildJob) -> None:
    """The log is opened before rights are given up: it lies where the tenant cannot write or plant a link."""
    os.setsid()
    _log_to(Path(job.log))
    if job.user is not None and job.group is not None:
        os.setgroups([])
        os.setgid(job.group)
        os.setuid(job.user)
    # Lost on a change of user, so set after it: no build outlives the builder.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o022 if job.context is None else 0o077)
    fitting = environment.clean if job.context is None else environment.bare
    environment.become(fitting(Path(job.folder), job.environment))


def _log_to(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    # Held until this process ends: two runs never work in one folder, not even after a crash. This kind of lock is not
    # shared with whoever inherits the descriptor: a daemon that a recipe started would keep that for ever.
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 (lives as long as the process)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def _build(job: BuildJob) -> BuildResult:
    folder = Path(job.folder)
    os.chdir(folder)
    if job.context:
        _prepare_partition(folder, job)
    files.write(folder / "buildout.cfg", job.profile)
    zc.buildout.buildout.Buildout(str(folder / "buildout.cfg"), [], "").install(())
    if job.context is None:
        return BuildResult(id=job.id, outcome=Outcome.DONE, fingerprint=_fingerprint(folder))
    return BuildResult(
        id=job.id,
        outcome=Outcome.DONE,
        installed=read_installed(folder),
        connection=_read_connection(folder),
        children=int(files.read_or(folder / ANSWERED_FILE, "0")),
    )


def _prepare_partition(folder: Path, job: BuildJob) -> None:
    for name in ("etc/run", "etc/service", "etc/promise", "etc/plugin", "etc/cron.d", "var", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    assert job.context is not None
    (folder / ANSWERED_FILE).unlink(missing_ok=True)
    files.write(folder / CONTEXT_FILE, job.context.model_dump_json(indent=1), 0o600)


def _read_connection(folder: Path) -> dict[str, object] | None:
    text = files.read_or(folder / CONNECTION_FILE, "")
    return json.loads(text) if text else None


def _fingerprint(folder: Path) -> str:
    """Instances depend on the profiles and on the parts of a release; both show in these files."""
    profiles = sorted(folder.glob("instance*.cfg"))
    if not profiles:
        raise InvalidInput(
            "The release made no instance profile.",
            f"There is no instance.cfg in {folder} after the build.",
            "Let its software.cfg render one, for example with `recipe = slap:template`.",
        )
    digest = sha256()
    for path in [*profiles, folder / ".installed.cfg"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read_installed(folder: Path) -> Installed:
    """What the profile put into a partition to run, to check and to repeat; raises InvalidInput naming a wrong file."""
    services, runs = _executables(folder / "etc/service"), _executables(folder / "etc/run")
    commands, checks = _commands(folder / "etc/promise"), _checks(folder / "etc/plugin")
    for twice in sorted((services.keys() & runs.keys()) | (commands.keys() & checks.keys())):
        raise InvalidInput(
            f"Two programs or two promises of {folder} are called {twice}.",
            "One lies in etc/service or etc/promise, the other in etc/run or etc/plugin.",
            "Rename one of them in the instance profile.",
        )
    return Installed(
        services=services,
        runs=runs,
        checks={**commands, **checks},
        crons={path.name: path.read_text().strip() for path in _entries(folder / "etc/cron.d")},
    )


def _entries(folder: Path) -> list[Path]:
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    for path in entries:
        check_file_name(path)
    return entries


def _executables(folder: Path) -> dict[str, str]:
    """Digests by name: a service is restarted when its executable changed."""
    return {path.name: sha256(path.read_bytes()).hexdigest()[:16] for path in _entries(folder)}


def _commands(folder: Path) -> dict[str, Check]:
    return {path.name: CommandCheck(check="command", command=(str(path),), timeout=20) for path in _entries(folder)}


def _checks(folder: Path) -> dict[str, Check]:
    return {path.stem: _read_check(path) for path in _entries(folder)}


def _read_check(path: Path) -> Check:
    if path.suffix != ".json":
        raise InvalidInput(
            f"The promise {path} is of a kind that is not run.",
            "A promise that nobody runs would be taken for one that passed.",
            "Use slap:check-port, slap:check-url or slap:check-command, or an executable in etc/promise.",
        )
    try:
        return _CHECK.validate_json(path.read_bytes())
    except ValidationError as error:
        raise InvalidInput(f"The promise {path} is wrong.", str(error)) from error
