"""One run on any number of processes.

The numbers are, to the bit, those of a run on one.
"""
