"""A master that speaks only SlapOS's classic protocol, the slap tool, with HATEOAS beside it for listing."""
