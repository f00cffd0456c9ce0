"""Frozen networks, their weights and number formats."""
