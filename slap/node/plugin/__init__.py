"""Promises as SlapOS has them: plugins in Python, run as their partition's user in a process of their own."""
