"""`slapos image`: images of virtual machines, built, added, shared, removed."""
