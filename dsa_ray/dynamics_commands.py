"""The commands `dsa replay` and `dsa restore`.

Replay derives what a run decided again from its journal, or as another policy would have decided; restore shows what
was dropped as erroneous, and takes exercises back.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dsa_ray.config import Config, ConfigError, with_overrides
from dsa_ray.dynamics.replay import Key, Outcome, ReplayError, replay
from dsa_ray.records import VerdictClass
from dsa_ray.report.explain import printable
from dsa_ray.sections import DynamicsConfig
from dsa_ray.skills.start import elementary_in, graph_of
from dsa_ray.storage.edits import put_edit
from dsa_ray.storage.journal import JournalError
from dsa_ray.storage.quarantine import RESTORE, quarantined
from dsa_ray.storage.run_folder import RunFolder, find_run

DIFFERENT = 1
SHOWN = 5
NO_EFFECT = ("baseline", "visit_cap", "planted_share")
"""Keys that decide what is trained on: a replay has the losses of the rows that were."""
Rows = Mapping[tuple[int, int], Mapping[str, Any]]


def replay_run(path: str, overrides: Sequence[str]) -> int:
    """Print the comparison; 0 where a replay under the run's own policy is equal bit for bit, or under another one.

    Raises:
        ConfigError: no run, a key that is not of `dynamics` or has no effect on a replay, or a broken journal.
    """
    run = RunFolder.open(path)
    dynamics = _policy(run.config, overrides) if overrides else None
    elementary = elementary_in(run.config.graph, graph_of(run))
    try:
        outcome = replay(run.journal, run.config, elementary, dynamics)
    except (ReplayError, JournalError) as error:
        raise ConfigError(f"{run.path}: {error}") from None
    lines, code = _compared(outcome) if overrides else _checked(outcome)
    print("\n".join(printable(line) for line in lines))
    return code


def restore_exercises(path: str, exercises: Sequence[int]) -> int:
    """Without ids print what is quarantined and why; with ids hand them in to the run, which trains on them again.

    Raises:
        ConfigError: no run, one that has ended, or an exercise that is not quarantined.
    """
    run = RunFolder.open(path)
    dropped = quarantined(run.journal)
    if not exercises:
        lines = [f"{number:>8}  step {row['step']}: {row['reason']}" for number, row in dropped.items()]
        print("\n".join(map(printable, lines)) or f"{run.path}: nothing is dropped")
        return 0
    if run.exists("summary.json"):
        raise ConfigError(f"{run.path}: this run has ended; what it dropped is in `dsa export {path} --all`")
    if strange := [number for number in exercises if number not in dropped]:
        raise ConfigError(f"exercise {strange[0]}: is not dropped in this run; `dsa restore {path}` shows what is")
    name = put_edit(run.folder, {RESTORE: sorted(set(exercises))})
    print(f"{run.path}: handed in as {name}; a run that goes on takes it up within seconds")
    return 0


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands to the command line."""
    parser = commands.add_parser("replay", help="derive every verdict of a run again; with keys, under another policy")
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("overrides", nargs="*", metavar="dynamics.key=value", help="e.g. dynamics.measure=log_loss")
    parser.set_defaults(command=lambda parsed: replay_run(find_run(parsed.run), parsed.overrides))
    restore = commands.add_parser("restore", help="what was dropped as erroneous; with ids, take these back")
    restore.add_argument("run", metavar="RUN")
    restore.add_argument("exercises", nargs="*", type=int, metavar="ID")
    restore.set_defaults(command=lambda parsed: restore_exercises(find_run(parsed.run), parsed.exercises))


def _policy(config: Config, overrides: Sequence[str]) -> DynamicsConfig:
    for override in overrides:
        section, _, key = override.partition("=")[0].strip().partition(".")
        if section != "dynamics":
            raise ConfigError(f"override {override!r}: a replay takes keys of dynamics only, such as dynamics.visits=2")
        if key in NO_EFFECT:
            raise ConfigError(f"dynamics.{key}: decides what is trained on, which a replay cannot change; start a run")
    return with_overrides(config, overrides).dynamics


def _checked(outcome: Outcome) -> tuple[list[str], int]:
    different = outcome.different()
    told = f"{len(outcome.derived):,} verdicts and decisions derived again from {outcome.steps:,} steps"
    if not different:
        return [f"{told}: all equal to those recorded, bit for bit"], 0
    lines = [f"{told}: {len(different):,} are not those recorded"]
    lines += [line for key in different[:SHOWN] for line in _difference(key, outcome)]
    return lines + ([f"and {len(different) - SHOWN:,} more"] if len(different) > SHOWN else []), DIFFERENT


def _difference(key: Key, outcome: Outcome) -> list[str]:
    return [
        f"exercise {key[1]}, cycle {key[2]}",
        f"  recorded  {_verdict(outcome.recorded.get(key))}",
        f"  derived   {_verdict(outcome.derived.get(key))}",
    ]


def _verdict(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "nothing"
    decision = row["decision"]
    told = f"{', '.join(decision['actions'])}, weight {decision['weight']:g}, {len(decision['orders'])} ordered"
    return f"step {row['step']}: {row['verdict']} ({row['reason']}) -> {told} {decision['reason']}".rstrip()


def _compared(outcome: Outcome) -> tuple[list[str], int]:
    before, after = outcome.standing(outcome.recorded), outcome.standing(outcome.derived)
    classes = [kind.value for kind in VerdictClass]
    moves = Counter((_class(before, key), _class(after, key)) for key in before.keys() | after.keys())
    width = max(map(len, classes)) + 2
    lines = ["Verdicts: recorded (rows) and under the other policy (columns), on the recorded losses", ""]
    lines.append(" " * width + "".join(f"{name:>{width}}" for name in (*classes, "none")))
    for row in (*classes, "none"):
        lines.append(f"{row:<{width}}" + "".join(f"{moves[row, column]:>{width},}" for column in (*classes, "none")))
    lines += ["", f"{'Decisions':<{width}}{'recorded':>{width}}{'other':>{width}}"]
    counts = [_decisions(rows) for rows in (before, after)]
    for name in sorted(counts[0].keys() | counts[1].keys()):
        lines.append(f"{name:<{width}}" + "".join(f"{count[name]:>{width},}" for count in counts))
    changed = sum(before.get(key, {}).get("decision") != after.get(key, {}).get("decision") for key in before | after)
    return [*lines, "", f"{changed:,} of {len(before | after):,} decisions differ"], 0


def _class(rows: Rows, key: tuple[int, int]) -> str:
    return rows[key]["verdict"] if key in rows else "none"


def _decisions(rows: Rows) -> Counter[str]:
    counts: Counter[str] = Counter()
    for row in rows.values():
        counts.update(row["decision"]["actions"])
        counts.update(f"ordered: {order['kind']}" for order in row["decision"]["orders"])
    return counts
