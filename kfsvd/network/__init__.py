"""What happens to a weight: the inputs that it meets, and the gradients at its outputs."""
