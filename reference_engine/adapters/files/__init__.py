"""Plain disk files as a machine without a hypervisor: its disks are files that nobody writes.

There is no guest to bring to rest, no snapshot and no change tracking. What a checkpoint promises
elsewhere is checked here instead: each file's identity, size and time of change are remembered when
it is opened, and `confirms`, called when everything has been read, raises SourceChangedError where
they are not the same any more. `release` raises it too if something was read after the last
confirmation, so that no caller can forget to ask.

`disk_files` owns the open files; the ports `cluster`, `host`, `consistency`, `change_tracking` and
`disk_io` speak about them.
"""
