"""`python -m torchprim`: the command line, without the installed `torchprim` script."""

import sys

from torchprim.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
