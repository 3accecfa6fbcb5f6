"""Disks of virtual machines: file systems, boot sectors, images."""
