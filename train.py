"""`torchprim train` from a clone: a separation network from a folder of music; `--help` tells the options."""

import sys

from torchprim.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
