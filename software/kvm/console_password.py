"""Who may see the console: a plugin of websockify that reads `user:password` from a file, where no process list shows it."""

from pathlib import Path

from websockify.auth_plugins import BasicHTTPAuth


class FromFile(BasicHTTPAuth):
    """The HTTP authentication of websockify; its source is the path of the file."""

    def __init__(self, src: str) -> None:
        super().__init__(Path(src).read_text().strip())
