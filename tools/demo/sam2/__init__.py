"""Train the demo SAM 2.1."""
