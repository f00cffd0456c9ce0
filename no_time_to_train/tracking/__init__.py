"""Identities of objects through a video."""
