"""Try a bundle in a process of its own, which may crash, hang or run out of memory in the service's place.

    python -m serving.champion.check FOLDER

prints a verdict of one line as JSON: `version` and `manifest_sha256`, or `problem` and `remedy`.
"""

import json
import os
import resource
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

CHECK_SECONDS = 45

_MEMORY_BYTES = 8 << 30  # of addresses, most of which the libraries never touch
_NOT_NEEDED = ("sklearn", "pandas")  # LightGBM loads them where it finds them, and they take as long as all else


def main(arguments: Sequence[str]) -> int:
    """Print the verdict on a bundle's folder, and return 0 where it is good."""
    verdict_end = _keep_stdout()
    _limit()
    sys.modules.update(dict.fromkeys(_NOT_NEEDED))  # type: ignore[arg-type]  # None is how Python marks what is absent
    from serving.champion.belief import judge

    verdict = judge(Path(arguments[0]))
    os.write(verdict_end, json.dumps(verdict).encode() + b"\n")
    return 0 if "version" in verdict else 1


def _keep_stdout() -> int:
    """Return where the verdict goes; what libraries print goes nowhere."""
    kept = os.dup(sys.stdout.fileno())
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return kept


def _limit() -> None:
    """Bound memory, processor time and dumps, and offer ourselves first where the machine's memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_AS, _MEMORY_BYTES), (resource.RLIMIT_CPU, CHECK_SECONDS)):
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
