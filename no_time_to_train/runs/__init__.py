"""One run on any number of processes: the same numbers, to the bit, as on one."""
