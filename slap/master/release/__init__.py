"""Software releases: what they say of themselves, read for the users of a master."""
