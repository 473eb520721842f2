"""The story of one recovery point, told from the facts of its run and from the truth."""
