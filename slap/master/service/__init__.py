"""What the master does for a caller, whatever the protocol: one file a subject."""
