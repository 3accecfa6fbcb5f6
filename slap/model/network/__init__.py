"""What partitions and their nodes say of the network."""
