"""Which points there are, and which one a person means."""
