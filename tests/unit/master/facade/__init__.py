"""The façades of other protocols."""
