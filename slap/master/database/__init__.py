"""The database: its tables, the store that runs jobs on it, and who waits for what they change."""
