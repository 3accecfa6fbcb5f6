"""What our HTTP servers share: sockets, and who is at the other end of them."""
