"""Mutants: each takes one defence out of the code, and a test must notice. See README.md."""
