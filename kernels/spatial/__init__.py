"""Position in a stereo recording: side-to-mid ratio, its histograms, and masks shifted by it."""
