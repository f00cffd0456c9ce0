"""Formats that other programs open: one module each."""
