"""The computer's identity: registration with the master, certificates and tokens."""
