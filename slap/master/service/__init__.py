"""What the master does for a caller or its operator, whatever the protocol: one file a subject."""
