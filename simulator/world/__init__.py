"""Ground truth: what really happened to every block, whatever anybody was told about it.

A disk is an array of write identities (stamps), one a cell: which write of the machine filled it
last. Bytes are a pure function of disk, cell and stamp, made only when somebody reads them, so
that a bit-exact comparison and a huge cluster are the same code. Stamps grow over all disks of a
machine: a stamp names one instant of its write order.
"""
