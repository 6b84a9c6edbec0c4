"""Arrays in, sums out: no paths, no policy."""
