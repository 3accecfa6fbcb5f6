"""The cache: serving it, looking into it, and saying whom it is believed."""
