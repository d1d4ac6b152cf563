"""Damped inverses of Kronecker sums, dense or of low rank."""
