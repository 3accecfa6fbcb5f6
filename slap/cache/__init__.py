"""Shacache: built releases and parts that nodes share, and whom they trust for that."""
