"""Client of binary caches: look up entries, download builds, upload builds."""
