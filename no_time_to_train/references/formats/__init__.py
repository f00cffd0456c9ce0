"""Readers of the annotation formats people have, as references: one module each."""
