"""HTML pages: of one separated song, and of a training."""
