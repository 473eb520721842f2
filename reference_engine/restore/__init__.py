"""Bringing a point back: its disks into images, checked block by block while they are written."""
