"""`twinshot bench`: this engine and other tools at the same work, on the same disk images.

`draws` and `contents` make bytes from a seed, `ext4` and `images` make a machine's disk of them,
`changes` makes the next generations with the exact map of what differs. `peers` and `own` say how
each tool is called, `measuring` runs one call, `rounds` runs all of them in turn. `samples` holds
what was measured, `report` and `bars` show it, `comparing` holds two results against each other.

What a benchmark promises:

- The same seed gives the same image; a result carries each image's digest. (An ext4 image also
  depends on the version of e2fsprogs, which the result names.)
- Whole processes are measured: start, work and end, with all processes that they wait for. CPU
  seconds decide, because other work on the machine hardly changes them; wall time is reported.
- Tools take turns within each run (A B A B), so that a slow minute hits all of them.
- Before a call is measured, the image is read once and everything written is on the disk.
- Every restored image is compared with its source, byte for byte. One that differs is a finding.
"""
