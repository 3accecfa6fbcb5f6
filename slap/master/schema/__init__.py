"""Parameters against the JSON Schemas of a release, within limits of time and memory."""
