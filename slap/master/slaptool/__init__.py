"""The classic slap tool protocol of SlapOS."""
