"""The master: stores what is requested and reported, places instances, answers nodes and users."""
