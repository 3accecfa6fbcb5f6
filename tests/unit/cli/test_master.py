"""Setting up a master, and the clients for it."""

import argparse
import stat
from pathlib import Path

import pytest

from slap.cli.master import configure, settings_of
from slap.client.config import read_configuration, write_configuration
from slap.model.errors import InvalidInput, Unauthenticated, Unreachable
from tests.unit.cli.fakes import FakeTransport, Shell


def options(**given: object) -> argparse.Namespace:
    return argparse.Namespace(**({"cfg": None, "database_url": None} | given))


def test_the_first_start_configures_the_clients_and_a_new_port_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "client.cfg"
    configure(path, "http://127.0.0.1:5000", "mine")
    configure(path, "http://127.0.0.1:5001", "mine")
    assert (read_configuration(path).master_url, read_configuration(path).token) == ("http://127.0.0.1:5001", "mine")


def test_a_configuration_for_another_master_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "client.cfg"
    write_configuration(path, "https://company", "other")
    configure(path, "http://127.0.0.1:5000", "mine")
    assert read_configuration(path).master_url == "https://company"
    assert "stays as it is: it is for the master at https://company" in capsys.readouterr().err


def test_options_win_over_the_configuration_file(tmp_path: Path) -> None:
    (tmp_path / "m.cfg").write_text("[master]\ndatabase_url = postgresql://u:p%40@db/slap\nport = 8000\nworkers = 4\n")
    settings = settings_of(options(cfg="m.cfg", port=9000), tmp_path)
    assert (settings.database_url, settings.port, settings.workers) == ("postgresql://u:p%40@db/slap", 9000, 4)


@pytest.mark.parametrize(
    ("text", "said"), [("[master]\nport = x\n", "port"), ("port = 1\n", "cannot be understood"), ("", "database_url")]
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.cfg").write_text(text)
    with pytest.raises(InvalidInput) as caught:
        settings_of(options(cfg="m.cfg"), tmp_path)
    assert said in str(caught.value)


def test_a_password_on_the_command_line_is_refused(shell: Shell) -> None:
    outcome = shell.run(FakeTransport({}), "master", "user", "me", "--database", "postgresql://u:secret@db/slap")
    assert outcome.status == 2
    assert "secret" not in outcome.err


def test_a_user_gets_a_token_in_a_file_of_its_own(shell: Shell) -> None:
    database = f"sqlite:///{shell.folder}/master.sqlite"
    outcome = shell.run(FakeTransport({}), "master", "user", "me", "--database", database, "--token-file", "me.token")
    assert (outcome.status, outcome.out) == (0, "")
    assert stat.S_IMODE((shell.folder / "me.token").stat().st_mode) == 0o600
    assert (shell.folder / "me.token").read_text().startswith("user:")


@pytest.mark.parametrize(
    ("answer", "status", "is_written"),
    [
        ([], 0, True),
        (Unreachable("No answer."), 0, True),
        (Unauthenticated("The master does not know this token."), 1, False),
    ],
)
def test_a_client_is_configured_unless_the_master_refuses_its_token(
    shell: Shell, answer: object, status: int, is_written: bool
) -> None:
    (shell.folder / "token").write_text("abc\n")
    words = ("configure", "client", "http://master", "--token-file", "token", "--cfg", "new.cfg")
    assert shell.run(FakeTransport({"GET /instances": [answer]}), *words).status == status
    assert (shell.folder / "new.cfg").exists() is is_written
    if is_written:
        assert read_configuration(shell.folder / "new.cfg").token == "abc"
