"""Equation 1, the loudest bins, the silhouette, and Gram matrices of embeddings."""
