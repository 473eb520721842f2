"""Getting blocks from a snapshot into the repository: which way, which ones, and the copy itself.

`route` decides through which node a volume is read, `pacing` how fast, `pipeline` copies. What
decides is pure.
"""
