"""Pieces of work that go wrong in every way, for the supervisor of `benchmarks gpu`."""

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
