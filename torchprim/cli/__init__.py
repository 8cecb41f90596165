"""The command line: one sub-command a file, with `add_arguments(parser)` and `run(args) -> exit status`."""


class UsageError(Exception):
    """Invalid arguments, detected after parsing; reported as argparse does, status 2."""
