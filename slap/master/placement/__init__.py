"""Which partition a request gets: candidates, their rank, and the instances that follow."""
