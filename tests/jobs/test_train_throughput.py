"""The training benchmark, with everything in it made tiny."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = ROOT / "jobs" / "bench"


def run_python(script: str, *arguments: str, timeout: int = 280) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def test_it_starts_without_ray_and_vllm() -> None:
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "sys.modules['ray'] = sys.modules['vllm'] = None  # an import of either fails\n"
        "import train_throughput\n"
        "import dsa_ray.engines.deepspeed_engine\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'ray', 'vllm'}))\n"
    )
    result = run_python(script, str(BENCH))
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "['ray', 'vllm']"


def test_gsm8k_lines_become_texts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"question": "How many?", "answer": "2 + 2 = 4\n#### 4"}) + "\n")
    script = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nimport _train_text\n"
        "print(_train_text.load_texts(sys.argv[2]) == _train_text.load_texts(sys.argv[2] + '/a.jsonl'))\n"
        "print(*_train_text.load_texts(sys.argv[2])[0], sep='|')\n"
    )
    result = run_python(script, str(BENCH), str(tmp_path))
    assert result.stdout == "True\nHow many?|2 + 2 = 4\n| 4\n", result.stderr


@pytest.mark.slow
def test_every_way_trains_and_the_last_line_is_the_result() -> None:
    script = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import train_throughput as bench\n"
        "if __name__ == '__main__':\n"
        "    bench.BLOCKS, bench.STREAM_TOKENS = {'3M': (1, 1)}, 10_000\n"
        "    sys.argv[1:] = ['--quick', '--only', 'cpu']\n"
        "    bench.main()\n"
    )
    result = run_python(script, str(BENCH))
    assert result.returncode == 0, result.stderr
    last = json.loads(result.stdout.splitlines()[-1])
    assert last["bench"] == "train_throughput"
    assert {"over the plain loop: 3M, ZeRO 2, 1 rank", "over the plain loop: 3M, ZeRO 2, 2 ranks"} <= set(last["bars"])
    assert {"the stream over 3M training", "statistics' cost: 3M, ZeRO 2, 1 rank"} <= set(last["bars"])
    assert "20M, 130M, ZeRO 1 and 3" in last["skipped"]
