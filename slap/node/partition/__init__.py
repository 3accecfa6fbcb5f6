"""What can be done in a partition: steps, processes, promises, schedules, and the verdict on them."""
