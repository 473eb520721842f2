"""What `twinshot restore` puts together: a request, its targets, and what came of it."""
