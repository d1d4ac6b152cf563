"""What a specification says: reading YAML, and every fault of a file at once."""
