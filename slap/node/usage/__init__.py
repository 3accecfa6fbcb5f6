"""What partitions use: measured, kept for days, told to the master."""
