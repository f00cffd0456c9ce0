"""Pure tensor and array arithmetic, without models or files."""
