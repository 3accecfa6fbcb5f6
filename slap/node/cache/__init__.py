"""Caches as a node uses them: tools, messages, and the queue of uploads."""
