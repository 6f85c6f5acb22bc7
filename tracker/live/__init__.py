"""A camera, or a file as if it were one, tracked as it comes and sent to other programs."""
