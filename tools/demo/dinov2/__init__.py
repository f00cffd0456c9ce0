"""Train the demo DINOv2."""
