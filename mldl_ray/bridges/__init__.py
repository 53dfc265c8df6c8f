"""Links to the neighbours of the lifecycle, one file each: an embedded implementation over the journal."""
