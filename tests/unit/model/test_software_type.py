"""The default type has two names, and what is declared for a type counts before what is declared for the release."""

import pytest

from slap.model.serialisation import Serialisation
from slap.model.software import SoftwareRelease, SoftwareType, described_type


@pytest.mark.parametrize(
    "asked, known, meant",
    [
        ("default", {"default"}, "default"),
        ("RootSoftwareInstance", {"default"}, "default"),
        ("default", {"RootSoftwareInstance"}, "RootSoftwareInstance"),
        ("RootSoftwareInstance", {"default", "RootSoftwareInstance"}, "RootSoftwareInstance"),
        ("RootSoftwareInstance", {"cluster"}, "RootSoftwareInstance"),
        ("cluster", {"default"}, "cluster"),
    ],
)
def test_either_name_of_the_default_type_is_understood(asked: str, known: set[str], meant: str) -> None:
    assert described_type(asked, known) == meant


def test_what_is_declared_for_a_type_counts_first() -> None:
    types = {
        "default": SoftwareType(),
        "json": SoftwareType(serialisation=Serialisation.JSON),
        "json-slave": SoftwareType(shared=True, software_type="json", serialisation=Serialisation.FLAT),
    }
    release = SoftwareRelease(url="u", types=types, serialisation=Serialisation.FLAT)
    assert release.serialisation_of("RootSoftwareInstance") is Serialisation.FLAT
    assert release.serialisation_of("json") is Serialisation.JSON
    assert release.serialisation_of("json", shared=True) is Serialisation.FLAT
    assert release.serialisation_of("unheard-of") is Serialisation.FLAT
    assert SoftwareRelease(url="u").serialisation_of("default") is Serialisation.NONE
