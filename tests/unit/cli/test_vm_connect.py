"""`slapos vm ssh`: what a service published is somebody else's text, and no command line."""

import pytest

from slap.cli.vm.connect import ssh_words
from slap.model.errors import InvalidInput


@pytest.mark.parametrize(
    ("published", "address"),
    [("ssh -p 10022 root@2001:db8::5", "2001:db8::5"), ("ssh -p 10022 root@127.77.0.5", "127.77.0.5")],
)
def test_a_machine_is_reached_as_its_release_says(published: str, address: str) -> None:
    assert ssh_words("m", published) == ("-p", "10022", f"root@{address}")


@pytest.mark.parametrize(
    "published",
    [
        "ssh -oProxyCommand=id root@127.77.0.5", "ssh -p 22 root@127.77.0.5 -oProxyCommand=id", "id", "",
        "ssh -p 22 root@-oProxyCommand=id", "ssh -p 22 root@fe80::1%-x", "ssh -p 22 root@host.example",
        "ssh -p 22 root@127.77.0.5\n", "ssh -p 99999999 root@127.77.0.5", "ssh -p 70000 root@127.77.0.5",
    ],
)  # fmt: skip
def test_all_else_is_not_run(published: str) -> None:
    with pytest.raises(InvalidInput, match="m does not say"):
        ssh_words("m", published)
