"""Where stages meet: the backup's steps S0 to S16, what to clear after a dead run, the schedule.

Everything that a run leaves on a host carries its tag (machine and epoch). Whether a tag's run
committed is the repository's word alone, and from it follows what to do with each leftover:
committed, its frozen maps are dropped; not committed, they are merged back. The same clearing runs
at the start of every run, at its end, and after a restart, so there is one way to recover.

Restores onto hosts (`restoring`, `instant`) and replication are jobs, too. What a restore writes is
an order's and nobody's machine until all of it was read back; whoever gives the order again after
the engine's end goes on where it was. A point is leased for as long as a job reads it.
"""
