import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, sys
from dsa_ray.screen import quiet
with quiet(sys.argv[1]) as terminal:
    print("framework noise")
    os.system("echo noise of a child")
    terminal.write("the view\\n")
print("after")
"""


def test_noise_goes_to_the_file_and_the_view_to_the_terminal(tmp_path: Path):
    log = tmp_path / "logs" / "driver.log"
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(log)], capture_output=True, text=True, check=True)
    assert done.stdout == "the view\nafter\n"
    assert sorted(log.read_text().splitlines()) == ["framework noise", "noise of a child"]
