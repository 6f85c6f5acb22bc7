"""A MakeHuman character of a person: whether its deviations are true, and how pictures tell of shapes."""
