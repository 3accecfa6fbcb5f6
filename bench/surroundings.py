"""What a benchmark runs in: prepared, without root rights, bounded in time, and with its results delivered at the end."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ours
import peer
from cage import CommandFailed
from options import Options
from results import OURS, PEER, Results, deliver
from sides import STATE

UNPRIVILEGED = "nobody"
RUN = STATE / "run"
INNER = "BENCH_WITHOUT_ROOT"  # set in the environment of the unprivileged half


def run(title: str, options: Options, measure: Callable[[Options, Results], None]) -> int:
    """Measure both sides; the exit status. As root, an unprivileged process does it: slapos.core refuses to run
    partitions of root."""
    name = Path(sys.argv[0]).name
    try:
        if INNER not in os.environ:
            _prepare(options, name)
        status = _run_without_root() if os.geteuid() == 0 else _measure(Results(title, name), options, measure)
    except (CommandFailed, OSError, EOFError, subprocess.CalledProcessError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    if INNER not in os.environ:
        deliver(name, RUN, options.json, None if status else options.markdown)
    return status


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """A fresh folder for one side in one round, removed unless something fails in it. Short: sockets lie in it."""
    path = RUN / f"{os.getpid()}-{name}"
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    except (CommandFailed, OSError, EOFError):
        raise
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)


def _measure(results: Results, options: Options, measure: Callable[[Options, Results], None]) -> int:
    """What was measured until then is printed and kept even when it was interrupted or went wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        measure(options, results)
    except (CommandFailed, OSError, EOFError) as error:
        print(f"\n{error}\n\nIts files are left in {RUN}.", file=sys.stderr)
        results.notes.append("stopped by a failure: not all rounds were made")
        return 1
    except (KeyboardInterrupt, SystemExit) as end:
        results.notes.append("interrupted: not all rounds were made")
        return 130 if isinstance(end, KeyboardInterrupt) else 143
    finally:
        if results.rows:
            results.keep(RUN)
    return 0


def _prepare(options: Options, name: str) -> None:
    RUN.mkdir(parents=True, exist_ok=True)
    for old in RUN.glob(f"{name}.*"):
        old.unlink()
    if PEER in options.sides:
        peer.install(options.peer_venv)
    if OURS in options.sides:
        ours.check_installed()


def _run_without_root() -> int:
    """Do the same as an unprivileged user, who may still read everything (CAP_DAC_READ_SEARCH): the Python that runs
    either side may lie in root's home. It ends with us."""
    user = pwd.getpwnam(UNPRIVILEGED)
    os.chown(RUN, user.pw_uid, user.pw_gid)
    RUN.chmod(0o755)
    setpriv = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--pdeathsig=TERM"]
    capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
    argv = [*setpriv, *capabilities, sys.executable, "-B", str(Path(sys.argv[0]).resolve()), *sys.argv[1:]]
    inner = subprocess.Popen(argv, env={**os.environ, INNER: "1"}, cwd=STATE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C reaches the other half too, which ends in order
    signal.signal(signal.SIGTERM, lambda *_: inner.terminate())
    return inner.wait()
