"""What each verb of the command line does; every function returns an exit code."""

DEFAULT_DATABASE = "sqlite:///kfsvd-bench.sqlite"
