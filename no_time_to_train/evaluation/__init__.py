"""Metrics, as the packages that define them compute them."""
