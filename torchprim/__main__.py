"""`python -m torchprim`: the command line, where the `torchprim` script is not installed."""

import sys

from torchprim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
