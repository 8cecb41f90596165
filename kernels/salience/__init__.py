"""Pitch salience: spectral peaks, harmonic sums, the median over time."""
