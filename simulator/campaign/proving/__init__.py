"""Does the repository ever lose a point? The real repository over storage whose power is cut.

Processes of the engine (writers, readers, ...) share one simulated file system. Each stops before
every call of the file system; who goes on is drawn (`random_runs`) or enumerated (`schedules`).
Then the power is cut, and `judgement` looks at what is left: nothing that was acknowledged may be
missing or different, and the next process must go on without anybody's help.

| id | holds after every power cut |
|---|---|
| R1 | what was acknowledged restores bit for bit, until its expiry was asked for |
| R2 | every point that is listed is complete, acknowledged or not |
| R3 | no restore gives other bytes than those that were backed up |
| R4 | the next process opens the repository and writes to it; no lock, no operator |
| R5 | what is reclaimed is used by no point, committed or under way |
| R6 | no point goes without an entry of the log that says so |
| R9 | points restore without the index |
| R12 | no clock decides what is kept |
"""
