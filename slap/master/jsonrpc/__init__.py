"""JSON-RPC as SlapOS has it: POST /slapos.<verb>.v0.<name>."""
