"""`slapos cachelookup`: what a shacache has, as SlapOS's nodes ask it."""
