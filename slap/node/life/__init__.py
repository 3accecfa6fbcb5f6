"""What was and what may come again: snapshots, backups and clones of a machine."""
