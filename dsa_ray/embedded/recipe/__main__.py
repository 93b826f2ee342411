"""Rebuild the embedded models: `python -m dsa_ray.embedded.recipe [teacher] [student] [--out FOLDER]`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsa_ray.embedded.recipe.build import MODELS, STUDENT, TEACHER, Recipe, build, report_of, shortened, write_recipe

LOG_EVERY = 50
"""Steps between lines where there is no terminal for a progress bar."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small teacher and student models that are shipped.")
    parser.add_argument("models", nargs="*", choices=["teacher", "student"], default=["student", "teacher"])
    parser.add_argument("--out", type=Path, default=MODELS, help="folder that gets teacher/ and student/")
    parser.add_argument("--steps", type=int, help="fewer steps, to try out a change")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cuda takes minutes where a CPU takes an hour")
    given = parser.parse_args()
    for recipe in (STUDENT, TEACHER):
        if recipe.name in given.models:
            _make(shortened(recipe, given.steps) if given.steps else recipe, given.out / recipe.name, given)


def _make(recipe: Recipe, folder: Path, given: argparse.Namespace) -> None:
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(recipe.name, total=recipe.total_steps)

        def report(step: int, loss: float) -> None:
            progress.update(task, completed=step + 1, description=f"{recipe.name}  loss {loss:.3f}")
            if not console.is_terminal and (step + 1) % LOG_EVERY == 0:
                print(f"{recipe.name}: step {step + 1} of {recipe.total_steps}, loss {loss:.3f}", flush=True)

        model, tokenizer, seconds = build(recipe, folder, report, given.threads, given.device)
    measured = report_of(recipe, model, tokenizer)
    write_recipe(recipe, folder, seconds, measured)
    console.print(f"{recipe.name}: {seconds:.0f} s, written to {folder}")
    console.print(measured)


if __name__ == "__main__":
    main()
