"""Other masters beside this one, and which of them a request goes to."""
