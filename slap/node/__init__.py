"""The node: makes one computer match what its master requests, and reports what is there."""
