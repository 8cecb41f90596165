"""Seeds of independent random streams, derived from several integers."""

from __future__ import annotations


def mixed_seed(*numbers: int) -> int:
    """One seed from several numbers: neighbours give unrelated ones (splitmix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state ^ (number & (2**64 - 1))) + 0x9E3779B97F4A7C15 & (2**64 - 1)
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return state & (2**63 - 1)
