"""Does a point survive a power cut on a real file system? ext4, XFS, btrfs; a disk that notes all.

A file system in user space holds one file, the disk, and notes every write and every flush that
reaches it (`logged_disk`, `write_log`); a loop device makes it a disk, on which the real file
system of this kernel is mounted (`mounting`). There
commands do their work, alone or beside a `neighbour` that flushes the file system, and each promise
that they make is noted with the place in the log at which it was made (`story`). Then for each
power cut (`cuts`) a disk is built of what had been flushed, and of any of the writes since, whole
or torn. The kernel mounts it, replays its journal, and `judgement` holds what is there against the
promises.

A write counts as flushed if it had reached the disk before the flush began to be handled. What the
disk itself gets wrong, such as a flush that is none, is not modelled.
"""
