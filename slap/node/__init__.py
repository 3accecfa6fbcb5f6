"""A node: makes one computer what its master says, and tells the master what is."""
