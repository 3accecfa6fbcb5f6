"""A virtual machine in its partition: what is to be done for it, decided and carried out as the partition's user."""
