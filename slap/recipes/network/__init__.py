"""What a partition has to do with the network: ports that lead elsewhere, and what is closed."""
