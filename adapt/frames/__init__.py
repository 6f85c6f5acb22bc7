"""The frames of a clip that adaptation sees: which, what is kept of them, and what a step draws."""
