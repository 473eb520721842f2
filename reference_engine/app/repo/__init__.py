"""`twinshot repo`: looking after a repository as a whole."""
