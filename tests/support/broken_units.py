"""Units of work that succeed, raise, die and hang, for the supervisor of `benchmarks gpu`."""

import os
import time


def fine(settings, number):
    return {"number": number}


def raises(settings):
    raise ValueError("some reason")


def dies(settings):
    os._exit(7)


def hangs(settings):
    time.sleep(600)
