"""Training of a network: recipes, data, optimiser steps, validation, and the folder of a run."""
