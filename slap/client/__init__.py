"""The typed client of the master's API: used by the command line, the node agent, recipes and tests."""
