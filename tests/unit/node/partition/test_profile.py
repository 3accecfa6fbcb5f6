"""What a partition's buildout is told, and which template of a release it takes."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from slap.model.errors import InvalidInput
from slap.node.partition.profile import find_template, instance_profile, with_credentials
from tests.unit.node.things import an_instance

OPTIONS = {
    "directory": "/srv/${a:b}",
    "software-path": "/opt/x",
    "computer-id": "C",
    "server-url": "https://[::1]:5000/",
    "context": "c",
    "shared-part-list": "/opt/shared",
}


def profile(**changes: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read_string(instance_profile(an_instance(token="a:b/c"), "/opt/$x/instance.cfg", {**OPTIONS, **changes}))
    return parser


def test_the_profile_has_what_slapos_profiles_expect_and_nothing_is_substituted() -> None:
    made = profile()
    assert made["buildout"]["directory"] == "/srv/$${a:b}"
    assert made["buildout"]["bin-directory"] == "/srv/$${a:b}/sbin"
    assert (made["buildout"]["offline"], made["buildout"]["extends"]) == ("true", "/opt/$x/instance.cfg")
    connection = made["slap-connection"]
    assert connection["partition-id"] == made["slap_connection"]["partition_id"] == "slappart0"
    assert connection["software-release-url"] == an_instance().software_release
    assert (connection["key-file"], connection["cert-file"], connection["requested-state"]) == ("", "", "started")
    assert connection["shared-part-list"] == "/opt/shared"
    assert {"storage-configuration", "network-information"} <= set(made.sections())


def test_the_token_is_the_password_in_the_url_of_the_master() -> None:
    assert profile()["slap-connection"]["server-url"] == "https://slappart0:a%3Ab%2Fc@[::1]:5000/"
    assert with_credentials("http://h/", "p", "") == "http://h/"
    assert with_credentials("http://own:word@h/", "p", "t") == "http://own:word@h/"


@pytest.mark.parametrize(
    ("files", "software_type", "template"),
    [
        ({"instance.cfg": ""}, "default", "instance.cfg"),
        ({"instance.cfg": "", "instance-tree.cfg": ""}, "tree", "instance-tree.cfg"),
        ({"instance.cfg": "", "instance-tree.cfg": ""}, "default", "instance.cfg"),
        ({"template.cfg": ""}, "default", "template.cfg"),
        ({"template.cfg": "", "instance.cfg": ""}, "default", "instance.cfg"),
        (
            {"instance.cfg": "recipe = slapos.cookbook:switch-softwaretype", "instance-tree.cfg": ""},
            "tree",
            "instance.cfg",
        ),
        ({"instance.cfg": "recipe = slapos.cookbook:softwaretype", "instance-tree.cfg": ""}, "tree", "instance.cfg"),
        ({}, "default", "instance.cfg"),  # buildout says that it is missing
    ],
)
def test_the_template_of_a_type(tmp_path: Path, files: dict[str, str], software_type: str, template: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert find_template(tmp_path, software_type) == tmp_path / template


def test_a_type_that_is_no_name_is_no_path(tmp_path: Path) -> None:
    (tmp_path / "instance-x").mkdir()
    (tmp_path / "etc.cfg").write_text("")
    assert find_template(tmp_path, "x/../etc") == tmp_path / "instance.cfg"
    with pytest.raises(InvalidInput):
        find_template(tmp_path, "a type")
