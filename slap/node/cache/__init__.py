"""Builds from caches: before one is made here it is looked for there, and what was made here is left for others."""
