"""One module per verb of the command line; each does its work and prints what people need to know."""
