"""The command line: parse, then call. Heavy libraries are imported inside the command that needs them.

Exit codes: 0 fine, 1 the run failed, 2 configuration or usage, 3 stalled, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dsa_ray import dynamics_commands, graph_commands
from dsa_ray.config import Config, ConfigError, load
from dsa_ray.exits import Exit
from dsa_ray.graph_commands import EXPORTS, export_graph
from dsa_ray.skills.graph import GraphError

if TYPE_CHECKING:
    from dsa_ray.storage.run_folder import RunFolder

BENCHES = Path(__file__).resolve().parents[1] / "jobs" / "bench"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. What is the user's to mend is one line on stderr."""
    parsed = _parse(arguments)
    try:
        return parsed.command(parsed)
    except ConfigError as error:
        print(f"dsa: {error}", file=sys.stderr)
        return Exit.USAGE
    except KeyboardInterrupt:
        print("dsa: interrupted", file=sys.stderr)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe (`dsa explain ... | head`) went away; nobody is left to tell.
        sys.stderr.close()
        return Exit.FAILED


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """argparse gives up on `CONFIG --dry-run key=value`; overrides may stand anywhere behind CONFIG. What stands behind
    the name of a benchmark is the benchmark's own, `--help` too."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((at for at, word in enumerate(words) if at and not word.startswith("-")), len(words))
    passed_on = words[name + 1 :] if words[:1] == ["bench"] else []
    parser = _parser()
    parsed, rest = parser.parse_known_args(words[: len(words) - len(passed_on)])
    parsed.passed_on = passed_on
    strange = [word for word in rest if word.startswith("-") or not hasattr(parsed, "overrides")]
    if strange:
        parser.error(f"unrecognized arguments: {' '.join(strange)}")
    if rest:
        parsed.overrides += rest
    return parsed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dsa", description="Teach a language model a new, complex skill.", epilog=__doc__.splitlines()[2]
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a configuration")
    run.add_argument("config", metavar="CONFIG", help="a YAML file, e.g. configs/quickstart.yaml")
    run.add_argument("overrides", nargs="*", metavar="key=value", help="e.g. train.steps=50 run.name=second")
    run.add_argument("--resume", action="store_true", help="go on with the run of this name")
    run.add_argument("--auto-resume", action="store_true", help="go on with the run of this name where there is one")
    run.add_argument("--allow-changes", action="store_true", help="resume although the configuration changed")
    run.add_argument("--dry-run", action="store_true", help="print plan and memory, start nothing")
    run.add_argument(
        "--on", metavar="SHAPE", help="with --dry-run: a cluster to plan for, e.g. cpus=96,gpus=8,gpu_gib=80"
    )
    run.set_defaults(command=run_command)

    generate = commands.add_parser("generate", help="write textbooks and exercises only; goes on where it was stopped")
    generate.add_argument("config", metavar="CONFIG")
    generate.add_argument("overrides", nargs="*", metavar="key=value")
    generate.add_argument("--allow-changes", action="store_true", help="go on although the configuration changed")
    generate.set_defaults(command=generate_command)

    for name, command, text in (
        ("status", status_command, "where a run stands"),
        ("report", report_command, "what a finished run came to"),
    ):
        sub = commands.add_parser(name, help=text)
        sub.add_argument("run", metavar="RUN", help="its folder, URI or job id; a name is looked up in runs/")
        sub.set_defaults(command=command)

    logs = commands.add_parser("logs", help="the log of one of a run's processes")
    logs.add_argument("run", metavar="RUN")
    logs.add_argument("process", metavar="PROCESS", nargs="?", help="e.g. curator, teacher-0; without one, list them")
    logs.add_argument("--tail", type=int, default=200, metavar="N", help="only the last N lines (default: 200)")
    logs.set_defaults(command=logs_command)

    explain = commands.add_parser("explain", help="the whole story of one exercise")
    explain.add_argument("run", metavar="RUN")
    explain.add_argument("exercise", metavar="ID", type=int)
    explain.set_defaults(command=explain_command)

    evaluate = commands.add_parser("eval", help="the exam, and evaluation tasks, on a run's students or on a model")
    evaluate.add_argument("target", metavar="RUN|MODEL", help="a run, a model folder or a Hugging Face name")
    tasks = "lm-evaluation-harness tasks, local files, new-operations"
    evaluate.add_argument("--tasks", default="", metavar="A,B.jsonl", help=tasks)
    evaluate.add_argument("--limit", type=int, help="no more examples per task than these")
    evaluate.add_argument("--exam", help="`embedded` or a JSONL file; by default that of the run")
    evaluate.add_argument("--no-exam", action="store_true", help="only the tasks")
    evaluate.add_argument("--leakage", metavar="TRAIN.jsonl,TEST.jsonl", help="compare losses on a benchmark")
    evaluate.set_defaults(command=eval_command)
    export = commands.add_parser("export", help="a run's texts as a dataset, or its skill graph in another format")
    export.add_argument("source", metavar="SOURCE", help="a run; for a skill graph also its file")
    export.add_argument(
        "--format", default="parquet", help=f"parquet, jsonl, trl, alpaca, sharegpt; {', '.join(EXPORTS)}"
    )
    export.add_argument("--out", required=True, metavar="PATH", help="a folder; for a skill graph a file")
    export.add_argument("--all", action="store_true", help="with what reviews dropped and verdicts found erroneous")
    export.add_argument("--push", metavar="NAME", help="upload it to the Hugging Face hub as a private dataset")
    export.set_defaults(command=export_command)

    docs = commands.add_parser("docs", help="references made from the package itself, as Markdown or JSON")
    docs.add_argument("what", choices=("config", "metrics", "dashboard"))
    docs.set_defaults(command=docs_command)

    doctor = commands.add_parser("doctor", help="is this machine fit?")
    doctor.add_argument("--storage", default="runs", help="where runs would be written (default: runs)")
    doctor.set_defaults(command=doctor_command)

    bench = commands.add_parser(
        "bench",
        help="run a benchmark of jobs/bench/",
        usage="dsa bench [-h] [NAME [--quick] ...]",
        epilog="What stands behind NAME is passed on to the benchmark; `dsa bench NAME --help` tells what it takes.",
    )
    bench.add_argument("name", metavar="NAME", nargs="?", help="without one, list them")
    bench.add_argument("--quick", action="store_true", help="a subset, within minutes")
    bench.set_defaults(command=bench_command)
    graph_commands.add_to(commands)
    dynamics_commands.add_to(commands)
    return parser


def run_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.generation.own_templates import check_prompts
    from dsa_ray.machine import this_machine
    from dsa_ray.placement import plan
    from dsa_ray.preflight import check, joins_cluster
    from dsa_ray.report.loggers import check_loggers

    config = load(parsed.config, parsed.overrides)
    if parsed.allow_changes and not (parsed.resume or parsed.auto_resume):
        raise ConfigError("--allow-changes: only a resumed run has changes; give --resume too")
    if parsed.dry_run:
        warnings = [] if parsed.resume or parsed.auto_resume else graph_commands.check_start(config)
        print("\n".join([dry_run(config, parsed.on), *(f"  warning: {line}" for line in warnings)]))
        return 0
    if parsed.on:
        raise ConfigError("--on: plans for a cluster that is not at hand; give --dry-run too")
    check(config)
    check_prompts(config)
    check_loggers(config)
    if not joins_cluster(config):
        plan(config, this_machine())
    resume = parsed.resume or (parsed.auto_resume and _is_there(config))
    if parsed.auto_resume and resume and _is_finished(config):
        print(f"{_folder_of(config)}: this run is finished already; see `dsa report`")
        return 0
    _check_name(config, resume)
    if not resume:
        graph_commands.check_start(config)

    from dsa_ray.pipeline import run

    return run(config, resume=resume, live=sys.stdout.isatty(), allow_changes=parsed.allow_changes)


def generate_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.generation.own_templates import check_prompts
    from dsa_ray.preflight import check_factories, check_models, check_storage

    config = load(parsed.config, parsed.overrides)
    check_storage(config)
    check_models(config)
    check_factories(config)
    check_prompts(config)
    if not _is_there(config):
        graph_commands.check_start(config)

    from dsa_ray.writing import generate

    return generate(config, allow_changes=parsed.allow_changes)


def dry_run(config: Config, on: str | None = None) -> str:
    """The summary, the placement and the memory estimate of a run, for people. Starts nothing, imports no Ray.

    Args:
        on: a cluster to plan for (`machine.shape_of`), rather than this machine or what the run asks for at best.

    Raises:
        ConfigError: what `dsa run` would refuse on this machine, or on the cluster given; on one that is joined, only
            what is wrong whatever the cluster.
    """
    from dsa_ray.generation.own_templates import check_prompts
    from dsa_ray.machine import shape_of, this_machine
    from dsa_ray.memory import estimate
    from dsa_ray.placement import demand, plan, render, slow_rows
    from dsa_ray.preflight import check_groups, check_models, check_storage, joins_cluster
    from dsa_ray.report.loggers import check_loggers

    check_storage(config)
    if on is None:
        check_groups(config)
    check_models(config)
    check_prompts(config)
    check_loggers(config)
    joined = joins_cluster(config) and on is None
    try:
        shape = shape_of(on) if on else demand(config) if joined else this_machine()
    except ValueError as error:
        raise ConfigError(f"--on: {error}") from None
    slow = "".join(f"\n  warning: {fault}" for fault in slow_rows(config))
    text = f"{_summary(config)}{slow}\n\n{render(plan(config, shape), estimate(config))}"
    if joined:
        text += (
            f"\n\nThis is what the run asks for at best; the cluster at {config.cluster.address or 'RAY_ADDRESS'} is "
            "looked at when it starts, and CPU shares shrink to what is there."
        )
    return text


def _summary(config: Config) -> str:
    generate, train, dynamics = config.generate, config.train, config.dynamics
    adapter = f", LoRA rank {train.lora_rank}" if train.lora_rank else ""
    mixed = config.curriculum.sampler != "dynamics"
    skills = f"; skills by {config.curriculum.sampler}, {config.curriculum.rounds} rounds" if mixed else ""
    return "\n".join(
        [
            f"Run {config.run.name} in {config.run.storage.rstrip('/')}/{config.run.name}, seed {config.run.seed}",
            f"  target    {config.graph.target} (at most {config.graph.max_skills} skills)",
            *(
                f"  teacher   {one.model} ({one.kind}), {one.replicas} x {generate.in_flight} requests in flight, "
                f"{generate.slots} slots in all"
                for one in config.pool
            ),
            f"  student   {config.student.model}, {train.precision}{adapter}",
            f"  ranks     {train.ranks}, ZeRO-{train.zero_stage}",
            f"  training  {train.steps} steps of {train.rows_in_step} rows of {train.row_tokens} tokens, "
            f"{train.slots} slots per rank, learning rate {train.learning_rate:g}",
            f"  dynamics  a verdict after {dynamics.visits} visits, at most {dynamics.cap} visits, "
            f"{dynamics.baseline} baseline{skills}",
        ]
    )


def _folder_of(config: Config) -> str:
    return f"{config.run.storage.rstrip('/')}/{config.run.name}"


def _is_there(config: Config) -> bool:
    from dsa_ray.storage.run_folder import RunFolder

    return RunFolder.exists_in(config.run.storage, config.run.name)


def _is_finished(config: Config) -> bool:
    """Whether the run of this name came to its end with this very configuration, so that nothing is left to do."""
    from dsa_ray.storage.run_folder import RunFolder

    run = RunFolder.open(_folder_of(config))
    if not run.exists("summary.json") or run.config != config:
        return False
    return json.loads(run.read_text("summary.json")).get("state") == "finished"


def _check_name(config: Config, resume: bool) -> None:
    """Before minutes are spent: is the run's name free, or is there something to resume?"""
    from dsa_ray.storage.filesystem import Folder

    folder = Folder(f"{config.run.storage.rstrip('/')}/{config.run.name}")
    there = folder.exists("config.json")
    if there and not resume:
        raise ConfigError(
            f"run.name: {folder.url} holds a run already; go on with it by --resume, "
            f"or give another name: run.name={config.run.name}-2"
        )
    if resume and not there:
        raise ConfigError(f"run.name: {folder.url} holds no run to resume; leave --resume out to start it")


def status_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report.status import status_lines

    print("\n".join(status_lines(_open_run(parsed.run))))
    return 0


def logs_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report.logs import UnknownProcess, listing, processes, tail

    if parsed.tail < 1:
        raise ConfigError("--tail: must be at least 1")
    run = _open_run(parsed.run)
    if parsed.process is None:
        print("\n".join(listing(processes(run.folder))))
        return 0
    try:
        print("\n".join(tail(processes(run.folder), parsed.process, parsed.tail)))
    except UnknownProcess as error:
        raise ConfigError(str(error)) from None
    return 0


def report_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report.closing import final_lines
    from dsa_ray.report.summary import SummaryError, read

    run = _open_run(parsed.run)
    if not run.exists("summary.json"):
        raise ConfigError(f"{run.path}: this run has not ended yet; see `dsa status {parsed.run}`")
    try:
        summary = read(run)
    except SummaryError as error:
        raise ConfigError(f"{run.path}: {error}") from None
    print("\n".join(final_lines(summary, run.path)))
    return 0


def explain_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report.explain import UnknownExercise, render, trace

    run = _open_run(parsed.run)
    try:
        print(render(trace(run.journal, parsed.exercise)))
    except UnknownExercise as error:
        raise ConfigError(str(error)) from None
    return 0


def eval_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.assess import Request, assess, lines
    from dsa_ray.screen import quiet
    from dsa_ray.storage.run_folder import find_run

    tasks = tuple(task.strip() for task in parsed.tasks.split(",") if task.strip())
    leakage = tuple(path.strip() for path in (parsed.leakage or "").split(",") if path.strip())
    if parsed.leakage is not None and len(leakage) != 2:
        raise ConfigError("--leakage: name two files, TRAIN.jsonl,TEST.jsonl")
    if parsed.no_exam and not tasks and not leakage:
        raise ConfigError("--no-exam: without --tasks or --leakage there is nothing left to do")
    if parsed.limit is not None and parsed.limit < 1:
        raise ConfigError("--limit: must be at least 1")
    request = Request(
        target=find_run(parsed.target),
        tasks=tasks,
        limit=parsed.limit,
        exam=parsed.exam,
        sit_exam=not parsed.no_exam,
        leakage=(leakage[0], leakage[1]) if leakage else None,
    )
    with quiet(None) as terminal:
        print("\n".join(lines(assess(request))), file=terminal)
    return 0


def export_command(parsed: argparse.Namespace) -> int:
    if parsed.format in EXPORTS:
        try:
            return export_graph(parsed)
        except GraphError as error:
            raise ConfigError(str(error)) from None

    from dsa_ray.storage.datasets import FORMATS, PushError, export, push

    if parsed.format not in FORMATS:
        known = ", ".join((*FORMATS, *EXPORTS))
        raise ConfigError(f"--format {parsed.format}: there is none of this name; known are {known}")
    if parsed.push and "://" in parsed.out:
        raise ConfigError("--push: uploads a local folder; give one with --out")
    counts = export(_open_run(parsed.source), parsed.format, parsed.out, parsed.all)
    for name, count in counts.items():
        print(f"{parsed.out.rstrip('/')}/{name}: {count} rows")
    if parsed.push:
        try:
            print(push(parsed.out, parsed.push))
        except PushError as error:
            print(f"dsa: --push {parsed.push}: {error}; the files are in {parsed.out}", file=sys.stderr)
            return Exit.FAILED
    return 0


def docs_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.report import dashboard, reference

    made = {
        "config": reference.config_reference,
        "metrics": reference.metrics_reference,
        "dashboard": dashboard.text,
    }
    print(made[parsed.what](), end="")
    return 0


def doctor_command(parsed: argparse.Namespace) -> int:
    from dsa_ray.doctor import checks, render

    results = checks(parsed.storage)
    print(render(results))
    return 0 if all(result.ok for result in results) else Exit.FAILED


def bench_command(parsed: argparse.Namespace) -> int:
    known = sorted(path.stem for path in BENCHES.glob("*.py") if not path.stem.startswith("_"))
    if parsed.name is None:
        print("\n".join(known) or "no benchmarks here")
        return 0
    if parsed.name not in known:
        raise ConfigError(f"bench {parsed.name}: there is none of this name; known are {', '.join(known) or 'none'}")
    words = [*(["--quick"] if parsed.quick else []), *parsed.passed_on]
    return subprocess.call([sys.executable, str(BENCHES / f"{parsed.name}.py"), *words])


def _open_run(name: str) -> RunFolder:
    """The run of a folder, URI or name in `runs/`, or of a submitted job.

    Raises:
        ConfigError: there is none; one line.
    """
    from dsa_ray.storage.run_folder import RunFolder, find_run

    if name.startswith(("raysubmit_", "job:")):
        from dsa_ray.actors.jobs import run_of_job

        return RunFolder.open(run_of_job(name))
    return RunFolder.open(find_run(name))


if __name__ == "__main__":
    sys.exit(main())
