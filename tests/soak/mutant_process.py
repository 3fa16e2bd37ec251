"""Judge mutants, one number a line, until there are no more: a process that may die of one."""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from tests.training.mutant_verdicts import few_orders, judge
from tests.training.mutants import make_mutant


def main(source: Path, other: Path) -> None:
    """Read numbers from stdin, and answer each with the mutant's name and its verdict."""
    orders = few_orders()
    for line in sys.stdin:
        nursery = Path(tempfile.mkdtemp())
        mutant = make_mutant(int(line), source=source, other=other, into=nursery)
        sys.stdout.write(json.dumps([mutant.name, judge(mutant, orders)]) + "\n")
        sys.stdout.flush()
        shutil.rmtree(nursery)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
