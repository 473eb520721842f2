"""Bringing a point back: its disks into images, onto disks that exist, or into a host's files.

Every block is checked by its digest while it is written; what a host holds is read back before a
machine is made of it. A machine may also run from the point first (`instant`).
"""
