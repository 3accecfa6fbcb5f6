"""The HTTP interface: routes, and failures as documents."""
