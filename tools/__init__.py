"""Maintain the project: measure it, and make the demo's data and models."""
