"""`twinshot repo`: making a repository, looking at it as a whole, and giving its space back."""
