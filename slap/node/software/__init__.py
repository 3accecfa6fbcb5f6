"""Software releases of this computer: built, downloaded from caches, uploaded to them, removed and pruned."""
