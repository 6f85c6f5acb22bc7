"""What adaptation learns, from what, and how: the model, the sum of its terms, the loop."""
