"""Virtual machines: what their services in a partition call, and what people ask for."""
