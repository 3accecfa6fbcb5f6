"""The recipes for software releases, each on something small and real, run by the real buildout."""

import io
import os
import tarfile
from hashlib import sha256
from pathlib import Path

import pytest

from slap.system import environment
from slap.system.process import Command, SystemRunner
from tests.system import releases
from tests.system.releases import Release

NOBODY = 65534

CONFIGURE = """#!/bin/sh
prefix=/usr/local
for word; do case $word in --prefix=*) prefix=${word#--prefix=};; --greeting=*) greeting=${word#--greeting=};; esac; done
cat > Makefile <<END
all: greet
greet: greet.c
\tcc -DGREETING='"$greeting"' -DPREFIX='"$prefix"' -o greet greet.c
install: all
\tmkdir -p \\$(DESTDIR)$prefix/bin
\tcp greet \\$(DESTDIR)$prefix/bin/
END
"""
GREET = '#include <stdio.h>\nint main(void) { puts(GREETING " from " PREFIX); return 0; }\n'
PATCH = """--- a/greet.c
+++ b/greet.c
@@ -1,2 +1,2 @@
 #include <stdio.h>
-int main(void) { puts(GREETING " from " PREFIX); return 0; }
+int main(void) { puts("patched " GREETING); return 0; }
"""


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return releases.make(tmp_path)


def greeter(folder: Path, source: str = GREET) -> tuple[Path, str]:
    """A tiny project as it would be published, and its digest."""
    path = folder / "greeter-1.0.tar.xz"
    with tarfile.open(path, "w:xz") as tar:  # which, unlike gz, has no time in it
        for name, text, mode in (("configure", CONFIGURE, 0o755), ("greet.c", source, 0o644)):
            info = tarfile.TarInfo(f"greeter-1.0/{name}")
            info.size, info.mode = len(text), mode
            tar.addfile(info, io.BytesIO(text.encode()))
    return path, sha256(path.read_bytes()).hexdigest()


def cmmi(release: Release, source: str = GREET, more: str = "") -> str:
    path, digest = greeter(release.cache.parent, source)
    return f"""
[buildout]
parts = greeter
[greeter]
recipe = slap:cmmi
url = {path}
sha256 = {digest}
configure-options = --greeting="good morning"
{more}
"""


def test_a_c_project_is_built_from_source_for_its_final_place(release: Release) -> None:
    release.build(cmmi(release)).check()
    assert release.run("greeter/bin/greet") == f"good morning from {release.part('greeter')}\n"
    assert release.is_tidy()


def test_unchanged_options_do_nothing_and_changed_ones_build_anew(release: Release) -> None:
    built = []
    for more in ("", "", "jobs = 1"):
        release.build(cmmi(release, more=more)).check()
        built.append((release.part("greeter") / "bin" / "greet").stat().st_ino)
    assert built[0] == built[1] != built[2]


def test_a_patch_is_applied(release: Release) -> None:
    (release.folder / "a.patch").write_text(PATCH)
    release.build(cmmi(release, more="patches = a.patch")).check()
    assert release.run("greeter/bin/greet") == "patched good morning\n"


def test_a_build_that_fails_leaves_no_part_and_tells_why(release: Release) -> None:
    failed = release.build(cmmi(release, source="int main(void) { return nonsense; }\n"))
    assert failed.status == 1
    for words in ("Part [greeter] failed: make ended with status 2", "nonsense", "The whole log is in"):
        assert words in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not release.part("greeter").exists()
    release.build(cmmi(release)).check()


def test_all_wrong_options_of_a_part_are_told_at_once(release: Release) -> None:
    failed = release.build("[buildout]\nparts = x\n[x]\nrecipe = slap:download\nmode = rw\n")
    assert failed.status == 1
    for words in ("[x]", "option url is missing", "option sha256 is missing", "option mode is 'rw'"):
        assert words in failed.stderr


DEB = """
[buildout]
parts = tools
[tools]
recipe = slap:deb
packages = hello socat
"""


def test_debian_packages_run_in_place(release: Release) -> None:
    release.build(DEB).check()
    assert release.run("tools/bin/hello") == "Hello, world!\n"
    assert "socat version" in release.run("tools/bin/socat", "-V")
    own = [line for line in libraries_of(release, "socat") if str(release.part("tools")) in line]
    assert any("libwrap" in line for line in own) and not any("libc.so" in line for line in own)


def test_debian_packages_are_built_again_from_their_lock(release: Release) -> None:
    release.build(DEB).check()
    lock = (release.part("tools") / "debian.lock").read_text()
    locked = DEB + "lock =\n" + "".join(f"  {line}\n" for line in lock.splitlines())
    release.build(locked).check()
    assert (release.part("tools") / "debian.lock").read_text() == lock
    failed = release.build(locked.replace("hello=", "hello=9"))
    assert failed.status == 1 and "hello" in failed.stderr and "Traceback" not in failed.stderr


def test_somebody_without_rights_can_build(release: Release) -> None:
    """All tests are run as whoever we are; root, who could do more than others, becomes somebody else here."""
    user = NOBODY if environment.is_root() else None
    for folder in (release.folder, release.cache, *release.folder.parents):
        if user and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o001)
    for folder in (release.folder, release.cache) if user else ():
        os.chown(folder, NOBODY, NOBODY)
    release.build(DEB, user=user).check()
    assert release.run("tools/bin/hello") == "Hello, world!\n"
    assert (release.part("tools") / "bin" / "hello").stat().st_uid == (user or os.geteuid())


def libraries_of(release: Release, program: str) -> list[str]:
    """What the loader finds for a program when it is started as its starter does."""
    starter = (release.part("tools") / "bin" / program).read_text()
    traced = starter.replace("exec ", "export LD_TRACE_LOADED_OBJECTS=1\nexec ")
    return SystemRunner().run(Command(("/bin/sh", "-s"), env={}, stdin=traced)).check().stdout.splitlines()


def python(requirements: str, more: str = "") -> str:
    return f"[buildout]\nparts = env\n[env]\nrecipe = slap:python\nrequirements = {requirements}\n{more}"


def test_locked_python_packages_are_in_an_environment_of_their_own(release: Release) -> None:
    release.build(python("idna==3.10\n  charset-normalizer==3.4.1")).check()
    places = release.run("env/bin/python", "-c", "import idna; print(idna.__file__, idna.encode.__code__.co_filename)")
    assert all(place.startswith(f"{release.part('env')}/lib/") for place in places.split())
    assert "usage: normalizer" in release.run("env/bin/normalizer", "--help")
    assert ".aside" not in (release.part("env") / "bin" / "normalizer").read_text()


@pytest.mark.parametrize(
    ("requirements", "words"),
    [
        ("jinja2==3.1.6", "requires markupsafe, which is not installed"),
        ("idna==3.10 --hash=sha256:" + "0" * 64, "THESE PACKAGES DO NOT MATCH THE HASHES"),
        ("idna==0.0.1", "idna==0.0.1"),
    ],
)
def test_python_packages_that_are_not_as_locked_are_refused(requirements: str, words: str, release: Release) -> None:
    failed = release.build(python(requirements))
    assert failed.status == 1 and words in failed.stderr and "Traceback" not in failed.stderr
    assert not release.part("env").exists()


def test_npm_packages_come_with_starters_for_their_commands(release: Release) -> None:
    profile = "[buildout]\nparts = js\n[js]\nrecipe = slap:npm\npackages = is-number@7.0.0 semver@7.6.3\n"
    release.build(profile).check()
    assert (release.part("js") / "node_modules" / "is-number" / "package.json").is_file()
    assert release.run("js/bin/semver", "1.2.3") == "1.2.3\n"
    for name in ("package.json", "package-lock.json"):
        (release.folder / name).write_bytes((release.part("js") / name).read_bytes())
    locked = "[buildout]\nparts = js\n[js]\nrecipe = slap:npm\nlockfile = package-lock.json\n"
    release.build(locked).check()
    assert release.run("js/bin/semver", "1.2.3") == "1.2.3\n"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "protocol.file.allow=always")
    return SystemRunner().run(Command(("git", *identity, *words), cwd=folder)).check().stdout.strip()


def repository(folder: Path, name: str) -> Path:
    path = folder / name
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch", "main")
    for number in ("1", "2"):
        (path / "file").write_text(f"{name} {number}")
        git(path, "add", ".")
        git(path, "commit", "--quiet", "--message", number)
    return path


@pytest.mark.parametrize("shallow", ["true", "false"])
def test_one_revision_is_checked_out_with_its_submodules(shallow: str, release: Release, tmp_path: Path) -> None:
    inner, outer = repository(tmp_path, "inner"), repository(tmp_path, "outer")
    git(outer, "submodule", "--quiet", "add", str(inner), "sub")
    git(outer, "commit", "--quiet", "--message", "with sub")
    revision = git(outer, "rev-parse", "HEAD")
    (outer / "file").write_text("later")
    git(outer, "commit", "--quiet", "--all", "--message", "later")
    options = f"repository = {outer}\nrevision = {revision}\nsubmodules = true\nshallow = {shallow}\n"
    release.build(f"[buildout]\nparts = code\n[code]\nrecipe = slap:git\n{options}").check()
    code = release.part("code")
    assert ((code / "file").read_text(), (code / "sub" / "file").read_text()) == ("outer 2", "inner 2")
    assert git(code, "rev-parse", "HEAD") == revision


def test_a_revision_that_is_not_there_is_told(release: Release, tmp_path: Path) -> None:
    options = f"repository = {repository(tmp_path, 'outer')}\nrevision = {'0' * 40}\n"
    failed = release.build(f"[buildout]\nparts = code\n[code]\nrecipe = slap:git\n{options}")
    assert failed.status == 1 and "git ended with status" in failed.stderr and "Traceback" not in failed.stderr


def test_an_instance_profile_refers_to_parts_and_keeps_its_own_substitutions(release: Release) -> None:
    (release.folder / "instance.cfg.in").write_text(
        "[buildout]\nparts =\n[x]\nrun = {{ env.python }} ${buildout:directory}\n"
    )
    profile = python(
        "idna==3.10", "[instance]\nrecipe = slap:template\ninput = instance.cfg.in\noutput = instance.cfg\n"
    )
    release.build(profile.replace("= env", "= env instance") + "context = section env env\n").check()
    text = (release.folder / "instance.cfg").read_text()
    assert f"run = {release.part('env')}/bin/python ${{buildout:directory}}" in text
    assert (release.folder / "instance.cfg").stat().st_mode & 0o777 == 0o644
