"""A database of slapproxy, taken over into one of this master."""
