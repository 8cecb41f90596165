"""Peaks of the 2-D Fourier transform, and the masks of its background."""
