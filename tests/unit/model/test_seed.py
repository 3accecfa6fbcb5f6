"""What the documents of a seed say."""

import json

import pytest
import yaml
from pydantic import ValidationError

from slap.model.vm.seed import Seed, SeedNetwork

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMUEcOPWQwTVYUfZ7WTmfuZcAXsmdSFYyJYvBNpRq8dh who@where"


def test_documents_are_yaml_and_name_what_was_said() -> None:
    seed = Seed(identity="one", hostname="web-1", ssh_keys=(f" {KEY}\n",), user_data="#!/bin/sh\ntrue\n")
    files = seed.files()
    meta, vendor = (yaml.safe_load(files[name]) for name in ("meta-data", "vendor-data"))
    assert (meta["local-hostname"], meta["public-keys"], len(meta["instance-id"])) == ("web-1", [KEY], 32)
    assert files["user-data"] == b"#!/bin/sh\ntrue\n"
    assert vendor["disable_root"] is False
    assert vendor["bootcmd"][-1][3] == KEY
    assert "network-config" not in files


def test_without_user_data_there_is_an_empty_configuration() -> None:
    files = Seed(identity="one", hostname="a", network=SeedNetwork.NONE).files()
    assert files["user-data"].startswith(b"#cloud-config\n")
    assert json.loads(files["network-config"])["ethernets"] == {}


def test_identity_alone_makes_another_machine_of_it() -> None:
    def instance(**said: str) -> str:
        return str(json.loads(Seed(**{"identity": "one", "hostname": "a", **said}).files()["meta-data"])["instance-id"])

    assert instance() == instance(hostname="b") == instance(user_data="#!/bin/sh\n")
    assert instance() != instance(identity="two")


@pytest.mark.parametrize(
    "wrong",
    [
        {"hostname": "two words"},
        {"hostname": "-a"},
        {"ssh_keys": ("no key",)},
        {"ssh_keys": (f"{KEY}\nssh-rsa AAAA",)},
        {"ssh_keys": (f'command="x" {KEY}',)},
        {"identity": ""},
    ],
)
def test_what_cannot_be_said_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Seed.model_validate({"identity": "one", "hostname": "a", **wrong})
