"""Operators between audio, spectra and their magnitudes and masks."""
