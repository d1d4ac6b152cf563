"""Running cells: slots on devices, a worker process for each, and the loop that feeds them."""
