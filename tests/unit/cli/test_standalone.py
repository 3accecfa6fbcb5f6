"""What `slapos standalone up` tells a newcomer to type."""

from slap.cli.standalone import next_commands
from tests.unit.cli.fakes import an_instance, started


def test_a_service_that_runs_is_what_to_look_at_first() -> None:
    order = "supply SOFTWARE-URL COMP-1 --wait"
    assert next_commands([], order) == (order, "node status")
    assert next_commands([an_instance(), started(reference="web")], order)[0] == "service info web"
