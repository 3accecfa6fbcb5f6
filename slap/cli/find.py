"""Find the instance that a name on the command line means."""

import difflib

from slap.client.master import Master
from slap.model.errors import NotFound
from slap.model.instance import Instance


def find(master: Master, name: str) -> Instance:
    """The service of that name, or the instance with that guid, which may be deep in a tree."""
    named = master.instances(name)
    if named:
        return named[0]
    try:
        return master.instance(name)
    except NotFound as error:
        known = [instance.reference for instance in master.instances()]
        meant = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {meant[0]}?" if meant else f"You have: {', '.join(known) or 'none yet'}."
        raise NotFound(f"There is no service {name}.", hint, "slapos service list") from error


def find_member(master: Master, path: str) -> Instance:
    """The same, and what a service ordered by itself: SERVICE/NAME."""
    root, _, child = path.partition("/")
    if not child or master.instances(path):
        return find(master, path)
    tree = master.tree(find(master, root).root)
    found = {each.reference: each for each in tree.instances}
    if child not in found:
        raise NotFound(f"{root} has no {child}.", f"It has: {', '.join(sorted(found))}.", f"slapos service info {root}")
    return found[child]
