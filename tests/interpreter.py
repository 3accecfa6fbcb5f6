"""The interpreter under that of .venv: other users may not be able to look into the folder of this project."""

import sys

# What type checkers know of Python leaves it out.
PYTHON: str = sys._base_executable  # type: ignore[attr-defined]
