"""Training losses: clustering of embeddings, distances of masks, SD-SDR, and their sum."""
