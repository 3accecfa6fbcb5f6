"""From where software releases are read, as an operator sets it."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from slap.model.base import Frozen
from slap.model.network.firewall import NetworkText


def split_words(text: object) -> object:
    """The words of a setting, which commas or blanks part."""
    return text.replace(",", " ").split() if isinstance(text, str) else text


class ReleaseSettings(Frozen):
    """From where software releases are read for users, and how much that may take.

    Who runs on this machine as the same Unix user as a master that is `open_to_this_machine` may name every place; everybody
    else public addresses, and the networks and folders that are here.
    """

    release_networks: Annotated[tuple[NetworkText, ...], BeforeValidator(split_words)] = ()
    release_folders: Annotated[tuple[Path, ...], BeforeValidator(split_words)] = ()
    release_proxy: str = Field(default="", pattern="^(https?://.+)?$")
    release_seconds: float = Field(default=30, gt=0, le=600)
    release_max_bytes: int = Field(default=2 << 20, ge=1 << 10, le=64 << 20)
    release_max_files: int = Field(default=100, ge=1, le=10_000)
    release_readers: int = Field(default=2, ge=1, le=64)  # for each user, at a time
    release_queue: int = Field(default=8, ge=0, le=10_000)  # for each user, what waits for that

    @field_validator("release_folders")
    @classmethod
    def _are_absolute(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        if relative := [str(folder) for folder in folders if not folder.is_absolute()]:
            raise ValueError(f"these paths are not absolute: {', '.join(relative)}")
        return folders
