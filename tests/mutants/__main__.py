"""`make mutants`: run the tests of each mutant in a copy of the tree, and list those that no test notices."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.entries import ROOT, Mutant, list_mutants

TIMEOUT_SECONDS = 600


def copy_tree(folder: Path) -> None:
    """Copy what git knows of the work tree, and .venv, whose files name its place, adapted to the new one."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    subprocess.run(
        ["cp", "--parents", "-t", folder, *filter(None, names.stdout.decode().split("\0"))], cwd=ROOT, check=True
    )
    subprocess.run(["cp", "-a", ROOT / ".venv", folder / ".venv"], check=True)
    named = subprocess.run(["grep", "-rlIZ", str(ROOT), folder / ".venv"], capture_output=True, check=True)
    paths = [path for path in named.stdout.decode().split("\0") if path]
    subprocess.run(["sed", "-i", f"s#{ROOT}#{folder}#g", *paths], check=True)


def run_mutant(folder: Path, mutant: Mutant) -> str:
    """Run the tests against one mutant: "noticed", "SURVIVED", or why its tests say nothing."""
    path = folder / mutant.file
    genuine = path.read_text()
    path.write_text(mutant.apply(genuine))
    try:
        argv = [str(folder / ".venv/bin/python"), "-B", "-m", "pytest", "-x", "-q", *mutant.tests]
        done = subprocess.run(argv, cwd=folder, capture_output=True, timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return "noticed"  # what was bounded no longer ends
    finally:
        path.write_text(genuine)
    return {0: "SURVIVED", 1: "noticed"}.get(done.returncode, f"PYTEST EXIT {done.returncode}")


def main() -> int:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    mutants = [each for each in list_mutants() if wanted in each.file or wanted in each.defence]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="mutants-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        copy_tree(folder)
        for number, mutant in enumerate(mutants, 1):
            verdict = run_mutant(folder, mutant)
            unnoticed += verdict != "noticed"
            print(f"{number:3}/{len(mutants)} {verdict:9} {mutant.file}:{mutant.line} {mutant.defence}", flush=True)
    print(f"{len(mutants) - unnoticed} of {len(mutants)} mutants were noticed.")
    return 1 if unnoticed or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
