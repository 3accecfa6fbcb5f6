"""Images of virtual machines: build, fetch, validate, store, and queue downloads for partitions."""
