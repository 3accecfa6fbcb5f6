"""What partitions may use of their computers."""
