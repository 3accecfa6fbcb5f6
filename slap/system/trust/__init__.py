"""Who is at the other end, and what others hand over: keys, certificates, users of this machine, folders, text."""
