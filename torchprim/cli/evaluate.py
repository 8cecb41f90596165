"""The paper's comparison on anybody's data: tables, and figures 2, 3 and 4.

    torchprim evaluate compare --stems MUSDB18/test --out RESULTS
    torchprim evaluate compare --stems MUSDB18/test --out RESULTS --methods irm,pcl,RUN/best.pt --bss torch
    torchprim evaluate compare --stems MUSDB18/test --out RESULTS --sources four
    torchprim evaluate confidence --stems MUSDB18/train --out RESULTS
    torchprim evaluate quartiles --audio MUSIC --stems MUSDB18/test --out RESULTS --preset small --steps 3000

Songs with stems are found in folders of MUSDB18 (`*.stem.mp4`), of MUSDB18-HQ (a folder of wavs a song),
and in folders with `vocals.*` and `accompaniment.*` or `mixture.*`, or with a file of each of `--sources`.
Results are cached as lines of JSON, song by song: the same command resumes after a stop. From them come a
page in Markdown, a JSON file with all numbers, and the figures.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from torchprim.cli import option_types
from torchprim.cli.device import DEVICES, choose_device
from torchprim.cli.output import say
from torchprim.errors import AudioError, CheckpointError
from torchprim.evaluation import compare, prediction, quartiles, report
from torchprim.evaluation.figures import figure_formats
from torchprim.evaluation.methods import find_method, find_methods, has_null
from torchprim.evaluation.runner import BSS, Results, Settings, run_methods
from torchprim.evaluation.scores import mean_name
from torchprim.evaluation.songs import find_songs
from torchprim.evaluation.statistics import few_songs
from torchprim.evaluation.trust import MEASURES
from torchprim.sources import TWO

BASIC = "mixture,null,irm,pcl"
METHODS = "mixture,null,irm,hpss,long-hpss,2dft-r,2dft-m,melody,repet-sim,pcl"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their arguments; options of `quartiles` that are unknown are for the trainings."""
    parser.description = __doc__
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    commands = parser.add_subparsers(dest="what", required=True, metavar="compare|confidence|quartiles")
    texts = {
        "compare": "methods on songs with stems: table, figure 4",
        "confidence": "does confidence predict performance? table, figure 2",
        "quartiles": "train on each quartile of confidence, compare: table, figure 3; "
        "further options go to `torchprim train`, the same for all four",
    }
    for name, text in texts.items():
        # A training's option must not be taken for the beginning of one of these.
        command = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=name != "quartiles"
        )
        command.set_defaults(own_parser=command, passes_on=name == "quartiles", sources=TWO)
        add = command.add_argument
        add("--stems", nargs="+", required=True, metavar="ROOT", help="folders of songs with true stems")
        add("-o", "--out", required=True, type=Path, metavar="FOLDER", help="folder of the results")
        if name == "confidence":
            add("--method", default="pcl", help="pcl, a checkpoint, or pcl+CHECKPOINT (pcl)")
        if name != "confidence":
            text = "two (vocals, accompaniment), four (drums, bass, other, vocals), or NAME,NAME,... (two)"
            add("--sources", type=option_types.sources, default=TWO, metavar="SOURCES", help=text)
            default = METHODS if name == "compare" else BASIC
            add("--methods", help=f"({default}; of other sources those of {BASIC} that there are)")
            add("--against", help="method that the others are compared with (pcl; without it mixture)")
            add("--bss", choices=BSS, default="none", help="BSSEval v4: by torchprim, by museval (none)")
            cores = os.cpu_count() or 2
            add("--workers", type=option_types.count, default=max(1, cores // 2), help="of museval")
        if name == "quartiles":
            add("--audio", nargs="+", required=True, metavar="FOLDER", help="music to train on")
            add("--preset", default="small", help="network and recipe of the trainings (small)")
        add(
            "--teacher-preset" if name == "quartiles" else "--preset",
            type=option_types.preset,
            default="best" if name == "confidence" else None,
            metavar="PRESET",
            help=f"of the primitives: {option_types.PRESET_NAMES} of your own (best)",
        )
        add("--stereo", action="store_true", help="score each channel; by default their mean, as the paper")
        add("--figures", default="png", metavar="FORMATS", help="some of png,svg,pdf (%(default)s)")
        add("--seed", type=option_types.seed, default=0, help="of the bootstrap, and of the trainings (0)")
        add("--device", choices=DEVICES, default="auto", help="(auto)")
        add("--threads", type=option_types.threads, default=None, help="CPU threads of torch")


def run_compare(args: argparse.Namespace, device: str) -> str:
    if args.sources != TWO and args.preset is not None:
        text = f"is of {', '.join(TWO)}, and --sources {','.join(args.sources)} was given"
        raise ValueError(f"argument --preset: {text}; pcl:PRESET of --methods names another")
    results, facts = score(args, given_methods(args, METHODS), args.preset or "best", device)
    return write_comparison(args, results, facts, "figure4", "# Comparison of methods")


def given_methods(args: argparse.Namespace, default: str) -> list[str]:
    """Return the methods that were given, else the default ones of two sources or what others have."""
    if (mean := mean_name(args.sources)) in args.sources:
        raise ValueError(f"argument --sources: {mean} is the name of a song's mean, got it as a source")
    if args.methods is not None:
        return args.methods.split(",")
    if args.sources == TWO:
        return default.split(",")
    return [name for name in BASIC.split(",") if has_null(args.sources) or name not in ("null", "pcl")]


def run_confidence(args: argparse.Namespace, device: str) -> str:
    method = find_method(args.method, args.preset, device)
    if method.separator is None:
        raise ValueError(f"method must cluster something to have a confidence, got {args.method!r}")
    settings = Settings(args.stereo, device=device)
    records, problems = prediction.run_confidence(find_songs(args.stems), method, settings, args.out)
    if not records:
        raise AudioError(", ".join(args.stems), "no song could be used")
    correlations = prediction.correlations(records)
    run = report.Run(args.what, args.stems, args.preset, args.seed, settings)
    facts = run.facts({record["song"]: record["seconds"] for record in records}, problems)
    facts["method"] = {method.name: method.identity}
    plain, partial = prediction.correlation_tables(correlations)
    sections = [
        f"# Confidence and performance: `{method.name}` on {len(records)} songs",
        "Pearson's r of each measure with SD-SDR, and its 95 % interval (Fisher). `improvement` is SD-SDR "
        "over that of the mixture, mean of both sources.",
        plain,
        "On raw SD-SDR much of r can be the level of the vocals alone: where they are loud, vocals score "
        "well and accompaniment badly, whatever the method (last row). So here is the partial r given the "
        "input level ratio, vocals to accompaniment in dB:",
        partial,
        report.figure_links(
            prediction.save_figure2(records, correlations, args.out, args.figures),
            "Figure 2: a dot a song; orange: line of best fit.",
        ),
        "Measures:\n\n"
        + "\n".join(f"- {name}: {text}" for name, text in MEASURES.items() if name in correlations),
        report.footer(facts),
    ]
    report.write_page(args.out, args.what, facts, correlations, sections)
    report.write_csv(args.out / f"{args.what}.csv", report.confidence_rows(records))
    return plain


def run_quartiles(args: argparse.Namespace, device: str, training_options: list[str]) -> str:
    options = ["--audio", *args.audio, "--preset", args.preset]
    if args.sources == TWO:
        args.teacher_preset = args.teacher_preset or "best"
    else:
        options += ["--sources", ",".join(args.sources)]
    options += ["--teacher-preset", args.teacher_preset] if args.teacher_preset else []
    methods = given_methods(args, BASIC)
    options += ["--seed", str(args.seed), "--device", device]
    options += ["--threads", str(args.threads)] if args.threads else []
    # No validation songs: a quartile has few, and all four trainings stop after equally many steps.
    options += [] if "--validation" in training_options else ["--validation", "0"]
    options += training_options
    checkpoints = quartiles.train_quartiles(args.out, options)
    results, facts = score(args, [*map(str, checkpoints), *methods], args.teacher_preset or "best", device)
    facts["training"] = {"options": options}
    title = "# Networks trained on quartiles of confidence (q1: the least)"
    return write_comparison(args, results, facts, "figure3", title)


def score(args: argparse.Namespace, names: list[str], preset: str, device: str) -> tuple[Results, dict]:
    """Score methods on all songs; return their records and the facts of the run."""
    args.against = args.against or ("pcl" if has_null(args.sources) else "mixture")
    methods = find_methods(names, preset, device, args.sources)
    settings = Settings(args.stereo, args.bss, args.workers, device, args.sources)
    results = run_methods(find_songs(args.stems, args.sources), methods, settings, args.out)
    if not results.scores:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(results.problems.items())[:3])
        raise AudioError(", ".join(args.stems), f"no song could be used ({reasons})")
    run = report.Run(args.what, args.stems, preset, args.seed, settings)
    seconds = {record["song"]: record["seconds"] for record in results.scores}
    facts = run.facts(seconds, results.problems)
    facts |= {"methods": {method.name: method.identity for method in methods}, "bss": args.bss}
    return results, facts


def write_comparison(args: argparse.Namespace, results: Results, facts: dict, figure: str, title: str) -> str:
    """Write the page, the JSON file and the figures of a comparison; return its main table."""
    summary = compare.summarise(results, args.against, args.seed)
    main_table = compare.main_table(summary, args.against)
    in_order = " / ".join(args.sources)
    sections = [
        f"{title}: SD-SDR (dB), {facts['data']['songs']} songs",
        f"SD-SDR (Le Roux et al. 2019) of whole songs; {compare.explanation(args.sources)} Last column: mean "
        f"of the paired differences from `{args.against}`, and its 95 % bootstrap interval.",
        main_table,
        *([warning] if (warning := few_songs(facts["data"]["songs"])) else []),
        report.figure_links(
            compare.save_figure4(results, args.out, figure, args.figures),
            "Boxes: quartiles over songs; whiskers: up to 1.5 times the box; orange: median; blue: mean.",
        ),
        f"Means over songs in dB, {in_order}:",
        compare.metrics_table(summary),
    ]
    if args.bss != "none":
        sections += [
            f"BSSEval v4 by {'torchprim' if args.bss == 'torch' else 'museval'}, in dB: medians over songs "
            f"of medians over frames of 1 s, {in_order}. Another metric: its SDR is not to be "
            "compared with SD-SDR. Where a codec has left nothing above 16 kHz, its SIR and SAR are mostly "
            "what the fitted filters do there at the edges of frames.",
            compare.bss_table(summary),
        ]
    not_finite = [
        f"`{method}`: {', '.join(row['not finite'])}" for method, row in summary.items() if row["not finite"]
    ]
    if not_finite:
        sections.append(
            f"No finite SD-SDR, and not in the means (a silent estimate): {'; '.join(not_finite)}."
        )
    if warning:
        say(f"warning: {warning}", sys.stderr)
    report.write_page(args.out, args.what, facts, summary, [*sections, report.footer(facts)])
    report.write_csv(args.out / f"{args.what}.csv", report.comparison_rows(results))
    return main_table


def run(args: argparse.Namespace) -> int:
    """Compute what is missing of the results, and write the page; return the exit status."""
    try:
        device = choose_device(args.device)
        args.figures = figure_formats(args.figures)  # before the work, not after
        if args.threads:
            torch.set_num_threads(args.threads)
        args.out.mkdir(parents=True, exist_ok=True)
        if args.what == "compare":
            text = run_compare(args, device)
        elif args.what == "confidence":
            text = run_confidence(args, device)
        else:
            text = run_quartiles(args, device, args.unknown)
    except (AudioError, CheckpointError, quartiles.TrainingFailed, ValueError, OSError) as error:
        say(f"error: {error}", sys.stderr)
        return 1
    except KeyboardInterrupt:
        say("\ninterrupted; the same command goes on", sys.stderr)
        return 130
    say(text)
    say(f"written to {args.out}", sys.stderr)
    return 0
