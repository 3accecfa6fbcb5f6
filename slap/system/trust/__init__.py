"""Who is at the other end: keys, certificates, and users of this machine."""
