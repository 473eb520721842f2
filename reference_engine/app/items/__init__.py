"""`twinshot items`: files in a point, without restoring its disks."""
