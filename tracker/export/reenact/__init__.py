"""A performance on another person's photo."""
