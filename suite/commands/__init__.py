"""What each verb of the command line does; every function returns an exit code."""
