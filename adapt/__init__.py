"""Self-supervised adaptation of the tracker to one clip: losses and the loop that minimises them."""
