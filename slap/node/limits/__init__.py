"""What partitions may use of their computer: what is in force, and what happens to those that use more."""
