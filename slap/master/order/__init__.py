"""Taking an order: what it asks for is checked, and it is given a place."""
