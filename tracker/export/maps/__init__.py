"""Maps of the tracked face: pictures that say which point of the surface each pixel sees, and how it lies there."""
