"""Images of virtual machines: how they are built, where a computer keeps them, what a machine is told at first."""
