"""What recipes are made of: options read with all problems told at once, parts made aside, files placed."""
