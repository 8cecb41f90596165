"""From a folder of music to training batches: bank, labels, store of estimates, remixes."""
