"""Small tools for what only some computers have."""
