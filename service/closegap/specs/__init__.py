"""Job specs: what a user may write, how it is read, checked and completed."""
