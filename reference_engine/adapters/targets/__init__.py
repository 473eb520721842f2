"""Disks that exist already and are written in place: files, block devices, NBD exports."""
