"""What `slapos node format` makes beside users, folders and addresses, and how all of it goes again."""
