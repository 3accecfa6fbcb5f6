"""Who this computer is to its master: how it registers, and what it is known by."""
