"""Readers of file systems: each turns a window onto a disk into a file tree, or says why not."""
