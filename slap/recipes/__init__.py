"""Recipes for buildout: the entry points that software releases and instances use."""
