"""The command line, `kfsvd-bench`; one module a verb in `suite.commands`, imported only when it is called."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from suite.commands import DEFAULT_DATABASE
from suite.errors import ExitCode, SuiteError, printable
from suite.plan.select import SELECTABLE

app = typer.Typer(
    name="kfsvd-bench",
    help="Honest, reproducible benchmarks of natural-gradient optimizers.\n\n"
    "Start with: kfsvd-bench run specs/quickstart.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
datasets = typer.Typer(help="List, fetch and verify data sets.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(datasets, name="datasets")

SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="The YAML specification, such as specs/quickstart.yaml.")
]
Database = Annotated[
    str, typer.Option("--db", metavar="URL", help="The store: sqlite:///FILE or postgresql+psycopg://HOST/NAME.")
]
Select = Annotated[
    str | None,
    typer.Option(
        metavar="KEY=VALUE,…", help=f"Only these cells: 'optimizer=kpsvd,seed=0|1' (keys: {', '.join(SELECTABLE)})."
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Folder with data sets, looked into first; also KFSVD_DATA."),
]
Devices = Annotated[
    str,
    typer.Option(
        "--devices",  # said, as typer 0.27 would take it from the metavar
        metavar="DEVICES",
        help="auto, cpu:N (N slots), sim:N (N simulated devices) or cuda:0,cuda:1.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
AnySources = Annotated[
    bool,
    typer.Option(
        "--any-sources", help="Also count results measured with other sources of kfsvd than the present ones."
    ),
]
AllowImport = Annotated[
    bool,
    typer.Option("--allow-import", help="Import the optimizers, data and networks that the spec names as MODULE:NAME."),
]


class Engine(StrEnum):
    """What runs the cells."""

    LOCAL = "local"
    RAY = "ray"
    SLURM = "slurm"


class Format(StrEnum):
    """What a report is written as."""

    MD = "md"
    HTML = "html"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


class TableFormat(StrEnum):
    """What tables are written as."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


@app.command()
def run(
    spec: SpecFile,
    db: Database = DEFAULT_DATABASE,
    select: Select = None,
    devices: Devices = "auto",
    executor: Annotated[
        Engine, typer.Option(help="This machine, a Ray cluster, or SLURM: as scheduling: in the spec says.")
    ] = Engine.LOCAL,
    address: Annotated[
        str | None, typer.Option(help="Of a Ray cluster, such as auto or host:6379; one on this machine if not given.")
    ] = None,
    shards: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="What SLURM's jobs measure, on a file system that all share; beside the store."
        ),
    ] = None,
    data_dir: DataFolder = None,
    any_sources: AnySources = False,
    allow_import: AllowImport = False,
    json: Json = False,
) -> None:
    """Measure what is not measured yet; resumable.

    Ctrl-C keeps every record, and the same command goes on from there.

    Example: kfsvd-bench run specs/quickstart.yaml --select 'dataset=digits,seed=0' --devices cpu:2

    On a cluster: kfsvd-bench run specs/autoencoders.yaml --executor slurm
    """
    from suite.commands.run import run
    from suite.scheduling.executor import Choice

    choice = Choice(executor.value, address, shards)
    _leave(
        run(
            spec,
            db,
            select,
            devices,
            choice,
            data_dir,
            any_sources=any_sources,
            allow_import=allow_import,
            json=json,
        )
    )


@app.command()
def plan(
    spec: SpecFile,
    db: Database = DEFAULT_DATABASE,
    select: Select = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="Predict every optimizer's step instead, after a second of calibration.")
    ] = False,
    devices: Devices = "auto",
    any_sources: AnySources = False,
    allow_import: AllowImport = False,
    json: Json = False,
) -> None:
    """Show the matrix and the expected time.

    Tells what is measured already; trains nothing. With --cost, the milliseconds of a step on one slot of --devices.

    Example: kfsvd-bench plan specs/autoencoders.yaml --cost
    """
    if cost:
        from suite.commands.cost import cost as predict

        _leave(predict(spec, select, devices, allow_import=allow_import, json=json))
    from suite.commands.plan import plan

    _leave(plan(spec, db, select, any_sources=any_sources, allow_import=allow_import, json=json))


@app.command()
def report(
    spec: SpecFile,
    db: Database = DEFAULT_DATABASE,
    folder: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="The folder of reports; this one is written into DIR/<spec name>."),
    ] = Path("results"),
    formats: Annotated[
        list[Format] | None,
        typer.Option(
            "--format",
            help="md (README.md with PNG figures), html (report.html, one file with charts that answer), latex "
            "(report.tex), csv, json, parquet; may be given several times.",
        ),
    ] = None,
    compared: Annotated[
        tuple[str, str] | None,
        typer.Option(
            "--compare",
            metavar="A B",
            help="Set two stores, files or URLs, side by side instead, seed by seed, into DIR/<spec name>-compared.",
        ),
    ] = None,
    any_sources: AnySources = False,
    allow_import: AllowImport = False,
) -> None:
    """Write leaderboards from what is measured.

    Example: kfsvd-bench report specs/quickstart.yaml --format md --format csv

    Example: kfsvd-bench report specs/quickstart.yaml --compare before.sqlite after.sqlite
    """
    from suite.commands.report import compare, report

    kinds = [f.value for f in formats or [Format.MD]]
    if compared is not None:
        _leave(compare(spec, compared, folder, kinds, allow_import=allow_import))
    _leave(report(spec, db, folder, kinds, any_sources=any_sources, allow_import=allow_import))


@app.command()
def export(
    spec: Annotated[
        Path | None, typer.Argument(metavar="[SPEC]", help="Only this specification's cells; all if not given.")
    ] = None,
    db: Database = DEFAULT_DATABASE,
    kind: Annotated[TableFormat, typer.Option("--format", help="csv, json or parquet.")] = TableFormat.CSV,
    folder: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the files go.")] = Path("export"),
    attempts: Annotated[
        bool, typer.Option("--attempts", help="Also runs that failed, were interrupted or were measured again.")
    ] = False,
) -> None:
    """Write what the store holds as tidy tables.

    Runs, iterations, evaluations, Fisher errors and ranks of inverses, a file each, with the columns of suite.load.

    Example: kfsvd-bench export specs/quickstart.yaml --format parquet --out tables
    """
    from suite.commands.export import export

    _leave(export(spec, db, folder, kind.value, attempts=attempts))


@app.command()
def status(
    spec: SpecFile,
    db: Database = DEFAULT_DATABASE,
    select: Select = None,
    any_sources: AnySources = False,
    allow_import: AllowImport = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every second, until no cell is left or Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what is done, at work, failed and missing.

    With --watch a running matrix from another terminal.

    Example: kfsvd-bench status specs/quickstart.yaml --watch
    """
    from suite.commands.status import status

    _leave(status(spec, db, select, any_sources=any_sources, allow_import=allow_import, watch=watch, json=json))


@app.command()
def logs(
    cell: Annotated[
        str,
        typer.Argument(
            metavar="CELL",
            help="The cell's key, as status shows it, or its beginning; or a selection: 'optimizer=kpsvd,seed=0'.",
        ),
    ],
    db: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Show what a cell has printed, while it runs and after.

    The end of the output of the latest attempt, and the error if it failed.

    Example: kfsvd-bench logs optimizer=kpsvd,dataset=digits,seed=0
    """
    from suite.commands.logs import logs

    _leave(logs(cell, db, json=json))


@app.command()
def gate(
    spec: Annotated[
        Path | None,
        typer.Argument(metavar="SPEC", help="The YAML specification, such as specs/ci.yaml."),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Stored measurements to hold the present sources against.")
    ] = None,
    baseline_db: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Take the baseline from a results store; compares losses, not times."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="REV", help="A git revision, whose sources are trained in the same rounds."),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Overwrite the --baseline file with the new measurements.")
    ] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="The clock reports without failing.")] = False,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Hold the gate to regressions made on purpose.")
    ] = False,
    pytest_benchmark: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Hold this file of pytest-benchmark against that of --baseline."),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[GROUP=]EXPR", help="With --pytest-benchmark: median:5%, min:0.001 (seconds); of a group, or all."
        ),
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="A summary for a pull request.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="JUnit XML.")] = None,
    github: Annotated[bool, typer.Option("--github", help="Annotations of GitHub Actions.")] = False,
    select: Select = None,
    rounds: Annotated[
        int | None, typer.Option(min=0, max=1000, help="Timing rounds (default 6; 0 skips timing).")
    ] = None,
    effect: Annotated[
        float | None, typer.Option(min=0, metavar="PERCENT", help="Change of seconds that counts, 5 if not given.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, metavar="PERCENT", help="Change of a loss that is allowed; 0, on another host class 1."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="torch threads per process.")] = 1,
    data_dir: DataFolder = None,
    json: Json = False,
) -> None:
    """Fail where a change makes training worse.

    Exit codes: 0 fine, 1 regression, 3 cells failed, 4 nothing compared, 5 not comparable.

    Example: kfsvd-bench gate specs/ci.yaml --baseline specs/ci-baseline.json --shadow
    """
    from suite.commands.gate import Against, Measuring, Output, kernels
    from suite.commands.gate import gate as run_gate
    from suite.commands.gate import self_test as test_gate

    held = Against(baseline, baseline_db, against)
    output = Output(markdown, junit, github=github, json=json)
    if pytest_benchmark is not None:
        _leave(kernels(pytest_benchmark, held, threshold or [], output))
    if spec is None:
        raise SuiteError("gate needs a SPEC, such as specs/ci.yaml, or --pytest-benchmark FILE.json")
    share = None if effect is None else effect / 100
    allowed = None if tolerance is None else tolerance / 100
    measuring = Measuring(select, data_dir, threads, rounds, share, allowed)
    if self_test:
        _leave(test_gate(spec, measuring, output))
    _leave(run_gate(spec, held, measuring, output, update=update, shadow=shadow))


@app.command()
def merge(
    sources: Annotated[
        list[str], typer.Argument(metavar="DB…", help="Stores: SQLite files, or any SQLAlchemy URLs; only read.")
    ],
    db: Database = DEFAULT_DATABASE,
    json: Json = False,
) -> None:
    """Fold stores into one; the same again changes nothing.

    Example: kfsvd-bench merge laptop.sqlite shards/*.sqlite --db sqlite:///all.sqlite
    """
    from suite.commands.merge import merge

    _leave(merge(sources, db, json=json))


@app.command()
def optimizers(
    name: Annotated[str | None, typer.Argument(help="One method; all if not given.")] = None,
    db: Annotated[
        str | None, typer.Option(metavar="URL", help="The store with its runs; kfsvd-bench.sqlite if it is there.")
    ] = None,
    json: Json = False,
) -> None:
    """List methods, or show the card of one.

    A card says what a method is, its formula and where that is from, its options with defaults and ranges, and how it
    did in the stored runs.

    Example: kfsvd-bench optimizers kpsvd
    """
    from suite.commands.optimizers import optimizers

    _leave(optimizers(name, db, json=json))


@app.command()
def environment(json: Json = False) -> None:
    """Show what is recorded of this machine.

    Example: kfsvd-bench environment --json
    """
    from suite.commands.environment import environment

    _leave(environment(json=json))


@datasets.command("list")
def list_datasets(data_dir: DataFolder = None, json: Json = False) -> None:
    """List the data sets, and where each is found.

    Example: kfsvd-bench datasets list
    """
    from suite.commands.datasets import list_datasets

    _leave(list_datasets(data_dir, json=json))


@datasets.command("fetch")
def fetch_datasets(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Data sets; all if not given.")] = None,
    data_dir: DataFolder = None,
) -> None:
    """Get or make data sets ahead of a run.

    Example: kfsvd-bench datasets fetch mnist
    """
    from suite.commands.datasets import fetch_datasets

    _leave(fetch_datasets(names or [], data_dir))


@datasets.command("verify")
def verify_datasets(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME…", help="Data sets; all if not given.")] = None,
    data_dir: DataFolder = None,
    json: Json = False,
) -> None:
    """Hold files against their checksums.

    Example: kfsvd-bench datasets verify mnist
    """
    from suite.commands.datasets import verify_datasets

    _leave(verify_datasets(names or [], data_dir, json=json))


def _leave(code: ExitCode) -> NoReturn:
    raise typer.Exit(int(code))


def main() -> None:
    """Run the command line; a `SuiteError` becomes one message and its exit code.

    So does anything else, such as what a damaged store makes of its reader: with KFSVD_TRACEBACK=1 it is shown whole.
    """
    try:
        app()
    except SuiteError as error:
        print(f"kfsvd-bench: {printable(str(error))}", file=sys.stderr)
        sys.exit(int(error.exit_code))
    except BrokenPipeError:  # `kfsvd-bench plan … | head`
        sys.stderr.close()
        sys.exit(int(ExitCode.FINE))
    except Exception as error:
        if os.environ.get("KFSVD_TRACEBACK") == "1":
            raise
        what = printable(" ".join(f"{type(error).__name__}: {error}".split()))[:500]
        remedy = "a damaged store, else a fault of this program: KFSVD_TRACEBACK=1 shows where"
        print(f"kfsvd-bench: unexpected {what}; {remedy}", file=sys.stderr)
        sys.exit(int(ExitCode.USAGE))


if __name__ == "__main__":
    main()
