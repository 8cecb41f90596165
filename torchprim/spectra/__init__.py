"""The STFT and its grid, a mixture's cached spectra, interpolation of masks between grids, high-pass."""
