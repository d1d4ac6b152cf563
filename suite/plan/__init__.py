"""What is to be measured: the cells of a specification, and how far its tuning has come."""
