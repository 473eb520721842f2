"""Where stages meet: the backup's steps S0 to S16, what to clear after a dead run, the schedule.

Everything that a run leaves on a host carries its tag (machine and epoch). Whether a tag's run
committed is the repository's word alone, and from it follows what to do with each leftover:
committed, its frozen maps are dropped; not committed, they are merged back. The same clearing runs
at the start of every run, at its end, and after a restart, so there is one way to recover.
"""
