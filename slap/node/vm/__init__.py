"""A virtual machine in its partition: start, change, stop, snapshot, back up and restore it as the partition's user."""
