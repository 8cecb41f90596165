"""`python -m benchmarks NAME [options]`: run one benchmark; its table goes to stdout and to a file."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from benchmarks.data import MissingData

# name -> (module, one line of help); a module has `add_arguments(parser)` and `run(options) -> str`
BENCHMARKS = {
    "compile": ("benchmarks.compile", "registers, spills and shared memory of every kernel, with no GPU"),
    "cpu": ("benchmarks.cpu", "seconds per second of audio on the CPU, and peak memory of a long song"),
    "evaluation": ("benchmarks.evaluation", "evaluate.py on the data: tables and figures of the paper"),
    "four": ("benchmarks.four", "SD-SDR of four stems with no training, beside their nulls"),
    "fuzz": ("benchmarks.fuzz", "flipped bits in files, odd arguments of every function: how each ends"),
    "gpu": ("benchmarks.gpu", "kernels on a GPU: parity, times against floors, growth, times real time"),
    "kills": ("benchmarks.kills", "runs killed at random moments: nothing half, nothing twice, nothing lost"),
    "levers": ("benchmarks.levers", "what each setting of a training brings, one at a time"),
    "melody": ("benchmarks.melody", "accuracy, separation and cost of pitch trackers on songs"),
    "metrics": ("benchmarks.metrics", "seconds a track of every metric, beside museval and mir_eval"),
    "pipeline": ("benchmarks.pipeline", "training steps a second: data made on the fly, or from files"),
    "stream": ("benchmarks.stream", "host time of a batch of remixes, and its copies to the device, no GPU"),
    "predict": ("benchmarks.predict", "bytes, launches and time on an H100 and an H200, with no GPU"),
    "previews": ("benchmarks.previews", "confidence and SD-SDR of the previews, for the report"),
    "quality": ("benchmarks.quality", "SD-SDR of every primitive and preset on MUSDB18 previews"),
}
RESULTS = Path(__file__).parent / "results"


def _listing() -> str:
    width = max(map(len, BENCHMARKS))
    return "\n".join(f"  {name:{width}}  {text}" for name, (_, text) in BENCHMARKS.items())


def main(arguments: list[str] | None = None) -> int:
    """Run a benchmark; return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    usage = f"usage: python -m benchmarks NAME [--out FILE] [options]\n\nbenchmarks:\n{_listing()}"
    if arguments and arguments[0] in ("-h", "--help"):
        print(usage)
        return 0
    if not arguments or arguments[0] not in BENCHMARKS:
        problem = f"there is no benchmark {arguments[0]!r}" if arguments else "which benchmark?"
        print(f"{problem}\n{usage}", file=sys.stderr)
        return 2
    name = arguments[0]
    module = importlib.import_module(BENCHMARKS[name][0])
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks {name}", description=module.__doc__)
    default = RESULTS / f"{name}.md"
    parser.add_argument("--out", type=Path, default=default, help="Markdown file to write (%(default)s)")
    module.add_arguments(parser)
    options = parser.parse_args(arguments[1:])
    try:
        text = module.run(options)
    except MissingData as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print(text)
    if options.out is None:  # a rehearsal
        return getattr(options, "status", 0)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    print(f"written to {options.out}", file=sys.stderr)
    return getattr(options, "status", 0)  # set by a benchmark that also checks something


if __name__ == "__main__":
    sys.exit(main())
