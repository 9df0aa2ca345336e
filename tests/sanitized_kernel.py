"""Run tests with a kernel that AddressSanitizer and UndefinedBehaviorSanitizer watch.

    STREAMAPP_FUZZ_SECONDS=30 STREAMAPP_FUZZ_SEED=7 uv run python -m tests.sanitized_kernel [PYTEST ARGUMENTS]

Without arguments it runs the tests of decoding and of finding records. It needs gcc with its sanitizers. A read or a
write out of bounds or of freed memory, or undefined behaviour, ends the run with a report.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPTIONS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
DECODING = [
    "tests/unit/decode/test_generic_path.py",
    "tests/unit/decode/test_fast_path.py",
    "tests/unit/transport/test_column_reader.py",
]


def main(arguments: Sequence[str]) -> int:
    """Build the kernel in a temporary folder, and run pytest in a process that has loaded it."""
    sys.path.insert(0, str(ROOT / "kernel"))
    from compiler import FILE_NAME, compile_kernel  # noqa: PLC0415 # pyright: ignore[reportMissingImports] - of the build

    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / FILE_NAME
        compile_kernel(kernel, OPTIONS)
        runtime = subprocess.check_output(["gcc", "-print-file-name=libasan.so"], text=True).strip()
        # Python keeps much until it ends: leaks are not looked for. aiokafka asks for as much memory as a broken record
        # claims, and relies on the refusal.
        options = "detect_leaks=0:allocator_may_return_null=1"
        environment = {**os.environ, "LD_PRELOAD": runtime, "ASAN_OPTIONS": options, "PYTHONMALLOC": "malloc"}
        command = [sys.executable, "-m", "tests.sanitized_kernel", str(kernel), *(arguments or DECODING)]
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def run(kernel: str, arguments: Sequence[str]) -> int:
    """Load the kernel from this file and run pytest in this process."""
    spec = spec_from_file_location("_streamapp_kernel", kernel)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["_streamapp_kernel"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    # Not captured: the report of a sanitizer ends the process.
    return pytest.main(["-n0", "--capture=no", "-p", "no:cacheprovider", "--timeout=0", *arguments])


if __name__ == "__main__":
    is_child = "libasan" in os.environ.get("LD_PRELOAD", "") and len(sys.argv) > 1
    sys.exit(run(sys.argv[1], sys.argv[2:]) if is_child else main(sys.argv[1:]))
