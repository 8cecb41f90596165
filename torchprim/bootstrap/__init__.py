"""From a folder of music to training batches: bank, labels, estimates, remixes."""
