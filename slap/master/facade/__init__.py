"""Other protocols over the services of /api/v1: the classic slap tool, HATEOAS and JSON-RPC of SlapOS."""
