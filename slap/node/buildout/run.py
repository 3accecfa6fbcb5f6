"""One buildout run, in a forked process, as the user that it is for."""

import ctypes
import fcntl
import logging
import os
import signal
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import Any

import zc.buildout
import zc.buildout.buildout
import zc.buildout.configparser
import zc.buildout.easy_install

from slap.client.partition import master_of
from slap.model.errors import NotReady, SlapError
from slap.model.node import ANSWERED_FILE, CONTEXT_FILE
from slap.node.buildout import orphans, slapos_dialect
from slap.node.buildout.installed import read_connection, read_installed, read_shared
from slap.node.buildout.job import BuildJob, BuildResult, Outcome
from slap.node.buildout.redaction import RedactingStream, redact
from slap.node.core.marker import compute_fingerprint
from slap.system import environment, files


class _Index(zc.buildout.easy_install.AllowHostsPackageIndex):  # type: ignore[misc]
    """A package index that never lists all packages: buildout's own does so for a misspelt name."""

    def not_found_in_index(self, requirement: Any) -> None:
        self.warn("There is no package %r in %s", requirement.unsafe_name, self.index_url)


zc.buildout.easy_install.AllowHostsPackageIndex = _Index
slapos_dialect.speak()

_PR_SET_PDEATHSIG = 1  # prctl(2)
_MAX_MESSAGE_LENGTH = 16_000  # characters; the log has the rest


def run(job: BuildJob) -> BuildResult:
    """Become the job's user, run buildout, and return the result. Only for a process that ends afterwards."""
    _become(job)
    result = _attempt(job)
    return result.model_copy(update={"message": redact(result.message[:_MAX_MESSAGE_LENGTH], _secret(job))})


def _attempt(job: BuildJob) -> BuildResult:
    try:
        return _build(job)
    except NotReady as error:
        return BuildResult(id=job.id, outcome=Outcome.WAITING, message=error.brief)
    except SlapError as error:
        return _failed(job, str(error))
    except (zc.buildout.UserError, zc.buildout.configparser.Error, OSError, ImportError) as error:
        return _failed(job, _with_place(error, _reason(error)))
    except Exception as error:  # noqa: BLE001 (whatever a recipe raises is a failed build, never the end of the builder)
        if _waits_for_child(error):
            return BuildResult(id=job.id, outcome=Outcome.WAITING, message=str(error.args[0]))
        traceback.print_exc()
        return _failed(job, _with_place(error, f"{type(error).__name__}: {error}"))
    finally:
        logging.shutdown()


def _waits_for_child(error: Exception) -> bool:
    """Whether an error is that of SlapOS's request recipes for a child that has not published yet."""
    modules = {str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)}
    by_request = any(name.startswith("slapos.recipe.request") for name in modules)
    return (
        bool(error.args) and by_request and (isinstance(error, KeyError) or type(error).__name__ == "ResourceNotReady")
    )


def _failed(job: BuildJob, message: str) -> BuildResult:
    print(message, flush=True)
    return BuildResult(id=job.id, outcome=Outcome.FAILED, message=message.strip())


def _reason(error: Exception) -> str:
    """A message for an error of buildout that names the profile's or the machine's fault."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ImportError):
        return f"A recipe cannot be loaded: {error}."
    return str(error).strip()


def _with_place(error: Exception, words: str) -> str:
    """The message with what buildout was doing, from the notes in its frames."""
    frames = (frame.f_locals for frame, _ in traceback.walk_tb(error.__traceback__))
    notes = [frame["__doing__"] for frame in frames if "__doing__" in frame]
    doing = [note if isinstance(note, str) else note[0] % note[1:] for note in notes]
    return "\n".join([words, *(f"While: {each}" for each in doing[-2:])])


def _become(job: BuildJob) -> None:
    """Become the job's user. The log is opened first: it lies where the tenant cannot write or plant a link."""
    os.setsid()
    _log_to(Path(job.log), _secret(job))
    job.limits.apply()
    if job.user is not None and job.group is not None:
        os.setgroups([])
        os.setgid(job.group)
        os.setuid(job.user)
    # Lost on a change of user, so set after it: no build outlives the builder.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.umask(0o022 if job.context is None else 0o077)
    environment.become(environment.bare(Path(job.folder), job.environment))


def _secret(job: BuildJob) -> str:
    return job.context.instance.token if job.context else ""


def _log_to(path: Path, secret: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    # Held until this process ends: two runs never work in one folder, not even after a crash. This kind of lock is not
    # shared with whoever inherits the descriptor: a daemon that a recipe started would keep that for ever. It is lost with
    # the first descriptor of the file that is closed.
    fcntl.lockf(1, fcntl.LOCK_EX)
    sys.stdout = RedactingStream(open(1, "w", buffering=1, closefd=False), secret)  # noqa: SIM115 (lives as long as we)
    sys.stderr = RedactingStream(open(2, "w", buffering=1, closefd=False), secret)  # noqa: SIM115


def _build(job: BuildJob) -> BuildResult:
    folder = Path(job.folder)
    os.chdir(folder)
    if job.context:
        _prepare_partition(folder, job)
    files.write(folder / "buildout.cfg", job.profile, 0o600 if job.context else 0o644)
    zc.buildout.buildout.Buildout(str(folder / "buildout.cfg"), [], "").install(())
    if job.context is None:
        return BuildResult(id=job.id, outcome=Outcome.DONE, fingerprint=compute_fingerprint(folder))
    result = BuildResult(
        id=job.id,
        outcome=Outcome.DONE,
        installed=read_installed(folder),
        connection=read_connection(folder),
        shared=read_shared(folder),
        children=int(files.read_or(folder / ANSWERED_FILE, "0")),
    )
    orphans.collect(folder, partial(master_of, job.context))
    return result


def _prepare_partition(folder: Path, job: BuildJob) -> None:
    for name in ("etc/run", "etc/service", "etc/promise", "etc/plugin", "etc/cron.d", "var", "tmp"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    assert job.context is not None
    (folder / ANSWERED_FILE).unlink(missing_ok=True)
    orphans.begin(folder)
    files.write(folder / CONTEXT_FILE, job.context.model_dump_json(indent=1), 0o600)
