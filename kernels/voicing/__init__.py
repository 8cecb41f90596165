"""Voicing of a pitch track, and the comb at its harmonics."""
