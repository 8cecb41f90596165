"""`torchprim train`: its options, the settings of a run, its cost on a CPU, and the training itself."""
