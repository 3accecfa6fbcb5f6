"""What partitions use: measured, aggregated, stored for days, reported to the master."""
