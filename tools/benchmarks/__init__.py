"""Measure speed and quality."""
