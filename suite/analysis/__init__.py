"""Statistics of runs: pure functions on arrays, no SQL, no randomness that is not passed in."""
