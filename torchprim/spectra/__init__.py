"""The STFT grid, the spectra of a mixture on it, and masks from one grid to another."""
