"""Make the demo benchmark and the demo models."""
