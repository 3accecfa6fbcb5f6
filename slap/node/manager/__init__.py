"""Managers: what a partition asks root to do in `.slapos-*` files, where slapos.cfg allows it."""
