"""DINOv2 and DINOv3: one feature vector for each patch of an image."""
