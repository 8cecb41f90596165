"""What `evaluate.py` is made of: songs, methods, scores, statistics, tables and figures."""
