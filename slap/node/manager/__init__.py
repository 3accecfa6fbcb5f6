"""What a partition cannot do by itself is done here, when its files ask for it and slapos.cfg allows it."""
