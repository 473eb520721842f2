"""LVM2: volume groups on physical volumes, put together as far as linear and striped pieces go."""
