"""MakeHuman characters of people: from what is seen of somebody to sliders, and to files."""
