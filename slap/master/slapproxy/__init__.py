"""The master for one machine."""
