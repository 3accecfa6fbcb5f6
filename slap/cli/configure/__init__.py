"""Writing configuration: which master a user talks to, and a master with a node for this machine."""
