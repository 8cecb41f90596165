"""Running medians and the HPSS mask."""
