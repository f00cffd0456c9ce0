"""Decisions of people about the labels of a run, and the page they make them on."""
