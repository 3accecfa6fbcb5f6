"""Ordering a service: what is asked, what would change, sending it, and waiting for it with the phases shown."""
