"""Commands about tokens and certificates."""
