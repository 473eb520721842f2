"""`twinshot repo`: making a repository, looking after it as a whole, giving its space back."""
