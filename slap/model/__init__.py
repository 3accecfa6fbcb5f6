"""What the house talks about: frozen types, states, errors and wire schemas. Imports nothing else of slap."""
