"""What all servers of the package share."""
