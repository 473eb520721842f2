"""Looking at one run: again, up to an instant, fact by fact, or beside another one."""
