"""`slapos node format`: plan and make users, addresses, interfaces and partition folders, and undo them."""
