"""Promises: run as a partition's user, plugins of SlapOS's form in a process of their own."""
