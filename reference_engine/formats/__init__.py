"""Disk image formats: raw, VHD and VHDX, read without trusting the file and written without haste.

Reading. `open_disk_image` tells formats apart by content, never by name. An image file is opened
for reading only and is never changed, not even to replay the log of a VHDX: the replay is a list
of patches in memory that lies over the file. Every structure is checked when the image is opened:
checksums, bounds, overlaps, and that no block lies outside the file. After that a read is a
look-up in two sorted arrays and one `pread`, so that one image serves any number of threads.

Memory is bounded by what the file really holds, not by what it declares: block tables are read in
pieces and only blocks that exist are kept, and there cannot be more of those than fit into the
file. Whatever is wrong ends in one sentence: `InputRefusedError` where the file is not usable here
(another container, a differencing disk), `DamagedImageError` where it is not what was written.

Writing. An `OutputFile` grows under a temporary name beside its target and takes the target's
name when it is complete: order of publication of a VHDX is payload, block table, metadata, region
tables, `fsync`, headers, identifier, `fsync`, name. A file torn at any point never opens. Existing
files are replaced only on request. Identifiers come from the caller; nothing here draws chance.

Modules: `image` says what readers offer, `image_file` and `vhdx_log` give bytes, `block_map` and
`block_image` turn them into a disk for `raw`, `vhd` and `vhdx`, and `opening` chooses among these
with the help of `recognition`. `writer` says what writers offer, `output_file` is what
`raw_writer` and `vhdx_writer` write to. `vhdx_layout` is shared by reader and writer.

Sources: [MS-VHDX] for VHDX, the Virtual Hard Disk Image Format Specification 1.0 for VHD.
"""
