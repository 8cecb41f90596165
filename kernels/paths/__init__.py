"""Best path and marginals over the lattice of pitches."""
