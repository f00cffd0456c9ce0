"""Sources of candidate masks."""
