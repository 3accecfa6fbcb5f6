"""The native HTTP API, /api/v1: its routes, who calls, and failures as documents."""
