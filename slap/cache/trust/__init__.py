"""Whose builds a node takes: keys, signatures, what it remembers, and the rules."""
