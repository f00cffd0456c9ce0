"""The published benchmarks: their data, their references, their protocol."""
