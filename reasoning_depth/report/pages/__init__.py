"""Pages to look at in a browser: one file each, offline, without a library."""
