"""Slap: everything is a service in a partition."""
