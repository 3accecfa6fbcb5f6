"""What all of the node is built on: configuration, state database, reports to the master, scheduling, accounts and logs."""
