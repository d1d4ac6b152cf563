"""kfsvd-bench: a declarative benchmark of optimizers; specs in, measured leaderboards out."""
