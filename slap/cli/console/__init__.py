"""Shells: `slapos console`, with the master at hand under the names that SlapOS uses, and what other shells complete."""
