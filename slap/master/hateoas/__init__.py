"""HATEOAS as the clients of SlapOS use it, under /hateoas."""
