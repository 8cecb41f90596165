"""The paper's tables and figures: songs, methods, scores, statistics; `evaluate.py` is their command line."""
