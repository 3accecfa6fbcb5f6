"""Client of masters that have only SlapOS's protocols: the slap tool, and HATEOAS for listing."""
