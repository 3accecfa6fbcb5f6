"""The `slapos` command: one file a noun, and the only room that prints."""
