"""Examples of categories, from files to prototypes."""
