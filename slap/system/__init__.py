"""The hands of the house: each module wraps one tool of the outside world behind a small typed interface."""
