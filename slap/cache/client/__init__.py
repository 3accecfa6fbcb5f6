"""What nodes do with caches: look up whose builds they have, fetch them whole or not at all, and publish their own."""
