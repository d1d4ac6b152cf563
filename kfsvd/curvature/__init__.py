"""The forms that a curvature F̂ has, each with what it offers: products, solves, traces, a dense matrix."""
