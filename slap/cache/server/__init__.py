"""The cache as an HTTP service, in its own protocol and in that of SlapOS's shacache and shadir."""
