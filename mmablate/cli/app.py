"""The command line: it parses, calls and prints. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import functools
import io
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mmablate import __version__
from mmablate.errors import MmablateError

app = typer.Typer(
    name="mmablate",
    help="Ablation studies of multimodal learning: one YAML recipe in, the Δ tables of a paper out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Data: make, prepare, check, info.", no_args_is_help=True)
app.add_typer(data_app, name="data")

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped one.")]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Dotted overrides, e.g. train.epochs=5.")
]
Profile = Annotated[str | None, typer.Option("--profile", help="Profile of the recipe (default: mini, if any).")]
DataRoot = Annotated[str | None, typer.Option("--data-root", metavar="DIR", help="Folder of the data.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Where studies are kept.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:1.")]
Jobs = Annotated[
    int | None, typer.Option("-j", "--jobs", min=1, help="Groups side by side (default: the cores; train: one).")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Processes that read batches ahead (default: up to 4 on CUDA; with -j 1)."),
]
Mode = Annotated[
    Literal["auto", "in-turn", "stacked"],
    typer.Option("--mode", help="How runs of one architecture step (default: in turn on a CPU, measured on CUDA)."),
]
Backend = Annotated[
    Literal["local", "ray", "slurm"],
    typer.Option("--backend", help="Who trains: this machine, or -j workers on Ray or Slurm."),
]
BackendOption = Annotated[
    list[str] | None,
    typer.Option("--backend-option", metavar="KEY=VALUE", help="For Ray or Slurm, e.g. partition=gpu; repeatable."),
]
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Print the plan, train nothing.")]
Probe = Annotated[bool, typer.Option("--probe", help="Measure step time and memory first.")]
Budget = Annotated[
    str | None, typer.Option("--budget", metavar="2h", help="Time to keep to: seeds that do not fit are left out.")
]
Strict = Annotated[bool, typer.Option("--strict", help="Warnings about the recipe are errors.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Log all runs and the table to wandb (offline; wandb:online sends), mlflow or tensorboard; repeatable.",
    ),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train failed runs again.")]
FailFast = Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failed run.")]
Force = Annotated[bool, typer.Option("-f", "--force", help="Train again what is finished.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show tracebacks.")]
TwoFormats = Annotated[Literal["terminal", "json"], typer.Option("--format", help="What goes to stdout.")]
Seeds = Annotated[
    str | None, typer.Option("--seeds", metavar="0,1,2|0-4", help="Seeds to train; those trained before count too.")
]
OUT = Path("results")


def _visible(text: str) -> str:
    """Names from files, spelled out where they would act on a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def told(command: Callable[..., int | None]) -> Callable[..., None]:
    """Ends a command with its exit code, and an error with one message and no traceback (unless -v)."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            code = command(*args, **kwargs) or 0
        except MmablateError as error:
            if kwargs.get("verbose"):
                traceback.print_exc()
            lines = [_visible(line) for line in str(error).splitlines()]
            head = "error: " if len(lines) == 1 else f"error: {len(lines)} problems:\n  "
            print(head + "\n  ".join(lines), file=sys.stderr)
            code = error.exit_code
        except KeyboardInterrupt:
            print("interrupted; what was finished is kept, the same command goes on", file=sys.stderr)
            code = 130
        except BrokenPipeError:  # the reader of a pipe has gone, e.g. `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        raise typer.Exit(code)

    return wrapper


def run() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):  # a pipe that knows no λ gets a question mark, not a traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    app()


def _version(wanted: bool) -> None:
    if wanted:
        print(f"mmablate {__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Version.")] = False,
) -> None:
    pass


@app.command()
@told
def ablate(
    recipe: Recipe,
    overrides: Overrides = None,
    seeds: Seeds = None,
    only: Annotated[str | None, typer.Option("--only", metavar="GLOB", help="Rows to train.")] = None,
    exclude: Annotated[str | None, typer.Option("--exclude", metavar="GLOB", help="Rows not to train.")] = None,
    profile: Profile = None,
    data_root: DataRoot = None,
    out: Out = OUT,
    device: Device = "auto",
    jobs: Jobs = None,
    workers: Workers = None,
    mode: Mode = "auto",
    backend: Backend = "local",
    backend_option: BackendOption = None,
    dry_run: DryRun = False,
    probe: Probe = False,
    budget: Budget = None,
    strict: Strict = False,
    track: Track = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    force: Force = False,
    format: TwoFormats = "terminal",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train every cell of a recipe that is not there yet, and print the Δ table."""
    from mmablate.cli.studies import Request, ablate_study

    request = Request(recipe, overrides or [], profile, data_root, out, device, jobs, dry_run, strict,
                      retry_failed, fail_fast, force, format, quiet, workers, probe, budget,
                      mode, backend, backend_option, track)  # fmt: skip
    return ablate_study(request, seeds=seeds, only=only, exclude=exclude)


@app.command()
@told
def sweep(
    recipe: Annotated[
        str, typer.Argument(metavar="[RECIPE]", help="A recipe file, or a shipped one's name. Default: muses_losses.")
    ] = "",
    overrides: Overrides = None,
    param: Annotated[list[str] | None, typer.Option("--param", metavar="NAME", help="What to vary.")] = None,
    values: Annotated[str | None, typer.Option("--values", metavar="0,0.1,1", help="The grid.")] = None,
    range_: Annotated[str | None, typer.Option("--range", metavar="LO:HI[:log]", help="A range instead.")] = None,
    sampler: Annotated[
        Literal["grid", "tpe", "random"], typer.Option("--sampler", help="Every value, or a search by Optuna.")
    ] = "grid",
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, help="Values in a range (5), or trials of a search (20).")
    ] = None,
    objective: Annotated[
        Literal["mean", "lcb"] | None,
        typer.Option("--objective", help="Of a search, over seeds (default: the recipe's)."),
    ] = None,
    prune: Annotated[
        Literal["none", "median", "wilcoxon"] | None,
        typer.Option("--prune", help="Stop a bad trial between seeds (default: the recipe's, else none)."),
    ] = None,
    seeds: Seeds = None,
    profile: Profile = None,
    data_root: DataRoot = None,
    out: Out = OUT,
    device: Device = "auto",
    jobs: Jobs = None,
    workers: Workers = None,
    mode: Mode = "auto",
    backend: Backend = "local",
    backend_option: BackendOption = None,
    dry_run: DryRun = False,
    probe: Probe = False,
    budget: Budget = None,
    strict: Strict = False,
    track: Track = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    force: Force = False,
    format: TwoFormats = "terminal",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Vary a loss weight or any other key, on a grid or by a search, and print the table and curve."""
    from mmablate.cli.studies import Request, sweep_study

    request = Request(recipe, overrides or [], profile, data_root, out, device, jobs, dry_run, strict,
                      retry_failed, fail_fast, force, format, quiet, workers, probe, budget,
                      mode, backend, backend_option, track)  # fmt: skip
    return sweep_study(request, parameters=param or [], values=values, range_=range_, seeds=seeds, trials=trials,
                       sampler=sampler, objective=objective, prune=prune)  # fmt: skip


@app.command()
@told
def train(
    recipe: Recipe,
    overrides: Overrides = None,
    row: Annotated[str | None, typer.Option("--row", metavar="NAME", help="Default: the last row.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Default: the first seed.")] = None,
    profile: Profile = None,
    data_root: DataRoot = None,
    out: Out = OUT,
    device: Device = "auto",
    jobs: Jobs = None,
    workers: Workers = None,
    mode: Mode = "auto",
    backend: Backend = "local",
    backend_option: BackendOption = None,
    dry_run: DryRun = False,
    probe: Probe = False,
    budget: Budget = None,
    strict: Strict = False,
    track: Track = None,
    retry_failed: RetryFailed = False,
    fail_fast: FailFast = False,
    force: Force = False,
    format: TwoFormats = "terminal",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> int:
    """Train one run of a recipe (and its teacher, where it is not there yet)."""
    from mmablate.cli.studies import Request, train_one

    jobs = jobs or (1 if backend == "local" else None)
    request = Request(recipe, overrides or [], profile, data_root, out, device, jobs, dry_run, strict,
                      retry_failed, fail_fast, force, format, quiet, workers, probe, budget,
                      mode, backend, backend_option, track)  # fmt: skip
    return train_one(request, row=row, seed=seed)


@app.command()
@told
def table(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH ...", help="Studies, folders of them, JSON tables, CSVs of runs.")
    ],
    format: Annotated[
        Literal["terminal", "html", "markdown", "latex", "csv", "json"] | None,
        typer.Option("--format", help="Default: by the ending of FILE, else terminal."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", metavar="ROW", help="Row that Δ refers to.")] = None,
    condition: Annotated[
        str | None, typer.Option("--condition", metavar="NAME", help="Score only these samples, e.g. night.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option("--subset", metavar="COLUMN", help="One column (F, Mean) under each condition.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option("--confidence", metavar="0.95", help="Of the intervals (default: the recipe's).")
    ] = None,
    view: Annotated[
        Literal["effects", "leave-one-out", "add-one-in"] | None,
        typer.Option("--view", help="Of a factorial study: what each term does, or only rows one term apart."),
    ] = None,
    standalone: Annotated[
        bool, typer.Option("--standalone", help="LaTeX: a whole document, not a fragment for \\input.")
    ] = False,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Write the figures there too, as SVG and PDF.")
    ] = None,
    color: Annotated[
        Literal["auto", "always", "never"], typer.Option("--color", help="In a terminal (NO_COLOR is heeded).")
    ] = "auto",
    row_column: Annotated[
        str | None, typer.Option("--row-column", metavar="A,B", help="CSV: what names a run's row.")
    ] = None,
    seed_column: Annotated[
        str | None, typer.Option("--seed-column", metavar="NAME", help="CSV: where the seed stands.")
    ] = None,
    columns: Annotated[str | None, typer.Option("--columns", metavar="A,B", help="CSV: the metrics.")] = None,
    lower: Annotated[str | None, typer.Option("--lower", metavar="A,B", help="CSV: metrics to be low.")] = None,
    primary: Annotated[
        str | None, typer.Option("--primary", metavar="NAME", help="CSV: the metric tested as a family of its own.")
    ] = None,
    decimals: Annotated[
        int | None, typer.Option("--decimals", min=0, max=6, help="Decimals as printed (JSON stays unrounded).")
    ] = None,
    verbose: Verbose = False,
) -> int:
    """Print the table of a study, of every study in a folder, or of somebody else's runs."""
    from mmablate.cli.tables import TableRequest, print_table

    request = TableRequest(paths, format, output, baseline, condition, subset, confidence, view, standalone, figures,
                           color, row_column, seed_column, columns, lower, primary, decimals)  # fmt: skip
    return print_table(request)


@app.command()
@told
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="A study, a JSON table, or a CSV.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one, or a published table: mmablate list published.")],
    format: TwoFormats = "terminal",
    verbose: Verbose = False,
) -> int:
    """Set two tables side by side: which Δ agree in sign, and which lie inside the other's interval."""
    from mmablate.cli.comparing import compare_paths

    return compare_paths(a, b, format)


@app.command()
@told
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A study, or a folder of studies.")],
    format: TwoFormats = "terminal",
    verbose: Verbose = False,
) -> int:
    """Test the claims of a study's recipe: holds, contradicted or undecided."""
    from mmablate.cli.checking import check

    return check(path, format)


@app.command()
@told
def saliency(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A study, or the folder of one of its runs.")],
    place: Annotated[
        str | None, typer.Option("--place", metavar="NAME", help="Of the teacher, e.g. fc2: measures the pairs there.")
    ] = None,
    permutations: Annotated[
        int | None, typer.Option("--permutations", min=1, metavar="M", help="Of every channel; default 10.")
    ] = None,
    distance: Annotated[
        Literal["squared", "l1"] | None, typer.Option("--distance", help="Between logits; default squared.")
    ] = None,
    split: Annotated[
        Literal["train", "val", "test"] | None,
        typer.Option("--split", help="Whose samples are permuted; default train."),
    ] = None,
    data_root: Annotated[
        str | None, typer.Option("--data-root", metavar="DIR", help="Folder of the data, where they are yours.")
    ] = None,
    device: Device = "auto",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="For CSV and figures; default: in the study.")
    ] = None,
    format: Annotated[
        Literal["terminal", "csv"], typer.Option("--format", help="What is printed: a summary, or every channel.")
    ] = "terminal",
    verbose: Verbose = False,
) -> int:
    """Which channels of a teacher carry modality-general decisive information: CSV and figure.

    Without options, what the joint trainings of a study have found; with one of --place, --permutations, --distance or
    --split its trained pairs are measured anew.
    """
    from mmablate.cli.saliency import SaliencyRequest, show_saliency

    return show_saliency(SaliencyRequest(path, place, permutations, distance, split, data_root, device, output, format))


@app.command()
@told
def view(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A study.")],
    html: Annotated[
        Path | None, typer.Option("--html", "-o", "--output", metavar="FILE", help="Default: in the study's folder.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, max=500, metavar="N", help="Worst, and as many best ones.")
    ] = 8,
    row: Annotated[list[str] | None, typer.Option("--row", metavar="NAME", help="Only this row; repeatable.")] = None,
    seeds: Annotated[str | None, typer.Option("--seed", "--seeds", metavar="0,1|0-4", help="Only these seeds.")] = None,
    data_root: DataRoot = None,
    fiftyone: Annotated[
        bool | None, typer.Option("--fiftyone/--no-fiftyone", help="Open the app (default: where it is installed).")
    ] = None,
    launch: Annotated[bool, typer.Option("--launch/--no-launch", help="FiftyOne: start the app at once.")] = True,
    verbose: Verbose = False,
) -> int:
    """Show the worst and best samples of each row: in FiftyOne where it is installed, else as an HTML sheet."""
    from mmablate.cli.viewing import ViewRequest, view_study

    return view_study(ViewRequest(path, html, samples, tuple(row or ()), seeds, data_root, fiftyone, launch))


@app.command()
@told
def audit(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table as HTML, Markdown, LaTeX or CSV.")],
    format: TwoFormats = "terminal",
    baseline: Annotated[str | None, typer.Option("--baseline", metavar="ROW", help="Row that Δ refers to.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", metavar="N", help="Test samples: finds accuracies that no count gives.")
    ] = None,
    grim_columns: Annotated[
        str | None, typer.Option("--grim-columns", metavar="A,B", help="The columns that hold accuracies.")
    ] = None,
    runs: Annotated[int, typer.Option("--runs", metavar="N", help="Runs that an accuracy is the mean of.")] = 1,
    verbose: Verbose = False,
) -> int:
    """Check a published table: does each Δ and Mean follow from its numbers?"""
    from mmablate.cli.auditing import print_findings

    return print_findings(file, format, baseline=baseline, samples=samples, grim_columns=grim_columns, runs=runs)


@app.command("list")
@told
def list_(
    kind: Annotated[
        Literal["recipes", "datasets", "models", "losses", "methods", "published"] | None,
        typer.Argument(help="What to list."),
    ] = None,
    verbose: Verbose = False,
) -> int:
    """List what there is: recipes, datasets, models, losses, methods, published tables."""
    from mmablate.cli.listing import print_listing

    return print_listing(kind)


@app.command()
@told
def schema(
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: stdout.")] = None,
    verbose: Verbose = False,
) -> int:
    """Print the JSON schema of recipes, for editors."""
    from mmablate.cli.listing import print_schema

    return print_schema(output)


@app.command()
@told
def doctor(verbose: Verbose = False) -> int:
    """Say what this machine can run, and why not."""
    from mmablate.cli.doctor import examine

    return examine()


@data_app.command("make")
@told
def data_make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset that has a generator, e.g. muses.")],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder to write, new or empty.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE ...]", help="Options of the generator, e.g. train=8.")
    ] = None,
    verbose: Verbose = False,
) -> int:
    """Write a small synthetic set in a dataset's real layout."""
    from mmablate.cli.making import make

    return make(name, root, options or [])


@data_app.command("prepare")
@told
def data_prepare(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset that can be prepared, e.g. brats.")],
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="Folder of the data as downloaded.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write to; what it holds is left as it is.")],
    verbose: Verbose = False,
) -> int:
    """Bring a dataset as downloaded into the form that is read fastest; resumes where it was stopped."""
    from mmablate.cli.preparing import prepare

    return prepare(name, root, out)


@data_app.command("check")
@told
def data_check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, or a recipe that says how to read it.")],
    root: Annotated[str | None, typer.Argument(metavar="[ROOT]", help="Folder of the data.")] = None,
    verbose: Verbose = False,
) -> int:
    """Read every file of a dataset and name all faults."""
    from mmablate.cli.datasets import check

    return check(name, root)


@data_app.command("info")
@told
def data_info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A dataset, or a recipe that says how to read it.")],
    root: Annotated[str | None, typer.Argument(metavar="[ROOT]", help="Folder of the data.")] = None,
    format: TwoFormats = "terminal",
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with samples instead.")
    ] = None,
    verbose: Verbose = False,
) -> int:
    """Say what a dataset holds: splits, modalities, classes, licence."""
    from mmablate.cli.datasets import info

    return info(name, root, format, html)
