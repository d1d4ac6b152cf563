"""Settings chosen by trials: an equal budget for every optimizer, on seeds of their own, by a named rule."""
