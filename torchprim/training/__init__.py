"""Training of a network: recipe, data, optimisation steps, validation, and the folder of a run."""
