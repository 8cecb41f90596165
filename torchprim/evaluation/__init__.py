"""The paper's tables and figures: songs, methods, scores, statistics; `torchprim evaluate` writes them."""
