"""Commands for the machine that they are typed on."""
