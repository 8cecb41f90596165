"""Music decoded once, on a device, cut into segments; with true stems, too."""
