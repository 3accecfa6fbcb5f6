"""Limits of partitions: set them, watch what partitions use, and end what exceeds them."""
