import subprocess
import sys

from services.student import thread


def test_a_thread_runs_and_ends() -> None:
    done: list[str] = []
    thread.start("good", lambda: done.append("done")).join()
    assert done == ["done"]


def test_a_thread_that_raises_ends_the_process_and_says_why() -> None:
    program = "import time; from services.student import thread; thread.start('bad', lambda: 1 / 0); time.sleep(60)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=50)
    assert ended.returncode == 1
    assert "thread bad died" in ended.stderr
    assert "ZeroDivisionError" in ended.stderr
