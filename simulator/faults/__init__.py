"""What can go wrong, as values, and when: the vocabulary of scenario files."""
