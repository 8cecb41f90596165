"""The command line: one sub-command a file, with `add_arguments(parser)` and `run(args) -> exit status`."""


class UsageError(Exception):
    """Arguments that cannot be met, found after parsing: reported as argparse does, status 2."""
