"""Ways to other machines that may be slow or lie."""
