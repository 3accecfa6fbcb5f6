"""One partition: decide and carry out its steps, supervise its processes, run its schedules, judge its health."""
