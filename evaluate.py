"""`torchprim evaluate` from a clone: the paper's comparison on anybody's data; `--help` tells the options."""

import sys

from torchprim.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
