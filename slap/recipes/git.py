"""slap:git: one revision of a Git repository."""

from pathlib import Path

from slap.model.errors import CommandFailed
from slap.recipes.common.base import OptionReader, RecipeError
from slap.recipes.common.part import SoftwarePart, program_path
from slap.system import files

REVISION = r"[0-9a-f]{40}|[0-9a-f]{64}"


class Recipe(SoftwarePart):
    """Options: repository, revision (or branch with allow-moving), shallow, submodules."""

    guide = "git"

    def read(self, options: OptionReader) -> None:
        self.repository = options.matching("repository", r"[^-\s]\S*", "a URL or a path", None)
        self.revision = options.matching("revision", REVISION, "a whole commit id, 40 digits", "")
        self.branch = options.matching("branch", r"[\w.][\w./+-]*", "the name of a branch or tag", "")
        self.shallow = options.flag("shallow", True)
        self.submodules = options.flag("submodules")
        self._check_choice(options)
        local = self.base / self.repository
        self.is_local = "://" not in self.repository and local.is_dir()
        self.source = str(local) if self.is_local else self.repository

    def _check_choice(self, options: OptionReader) -> None:
        moving = options.flag("allow-moving")
        if bool(self.revision) == bool(self.branch):
            options.problem("revision", "or branch: give exactly one of them")
        if self.branch and not moving:
            options.problem(
                "branch", "moves, so that two builds may differ: give a revision, or write allow-moving = true"
            )

    def make(self, part: Path) -> None:
        self._check_possible()
        self.logger.info("Getting %s of %s", self.revision or self.branch, self.repository)
        self._git(part, "init", "--quiet")
        self._git(part, "remote", "add", "origin", self.source)
        self._git(part, "checkout", "--quiet", "--detach", self._fetched(part))
        if self.submodules:
            self._git(part, "submodule", "update", "--quiet", "--init", "--recursive")

    def _fetched(self, part: Path) -> str:
        """Fetch what is needed, and the name that it has now. Not every server gives out single commits."""
        depth = ("--depth", "1") if self.shallow else ()
        try:
            self._git(part, "fetch", "--quiet", *depth, "origin", "--", self.revision or self.branch)
        except RecipeError:
            if self.branch:
                raise
            self.logger.info("The server does not give out single commits: getting all branches")
            self._git(part, "fetch", "--quiet", "--tags", "origin")
        return self.revision or "FETCH_HEAD"

    def _check_possible(self) -> None:
        if not program_path("git", self.environment()):
            raise CommandFailed("git is not installed.", resolution="As root: apt-get install git")
        if self.offline and not self.is_local:
            raise CommandFailed(f"{self.repository} is needed, but buildout is offline.")

    def _git(self, part: Path, *words: str) -> None:
        # A repository on this disk may have submodules on this disk; one from the network may not name our files.
        local = ("-c", "protocol.file.allow=always") if self.is_local else ()
        self.run("git", *local, *words, cwd=part)

    def environment(self) -> dict[str, str]:
        """The machine's configuration of git, plus that a repository of another user on this disk may be read."""
        config = self.scratch / "gitconfig"
        trusted = f"[safe]\n\tdirectory = {self.source}\n\tdirectory = {self.source}/.git\n" if self.is_local else ""
        files.write_if_changed(config, f"[include]\n\tpath = ~/.gitconfig\n{trusted}")
        return {**super().environment(), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": str(config)}
