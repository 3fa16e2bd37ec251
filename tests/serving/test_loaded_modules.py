import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEARNING = (
    "mlflow",
    "lifetimes",
    "training.evaluation.backtest",
    "training.evaluation.judging",
    "training.evaluation.ladder",
    "training.fitters",
    "training.horizon",
    "training.labels",
    "training.metrics",
    "training.promotion.conditions",
    "training.promotion.criteria",
    "training.promotion.gate",
    "training.promotion.leakage",
    "training.promotion.promote",
    "training.report",
    "training.splits",
    "training.tracking",
    "training.train",
)
CODE = """
    import json, sys
    from pathlib import Path
    import serving.service
    from features.lifecycle.vocabularies import load_wording
    from serving.live import score_request
    from serving.schemas import ScoreRequest
    from training.bundle import load_bundle

    orders = [{"ordered_at": "1997-01-04", "amount": 29.33}, {"ordered_at": "1997-03-22", "amount": 29.73}]
    body = {"as_of": "1998-04-01", "customers": [{"customer_id": "a", "orders": orders}]}
    bundle, request = load_bundle(Path(sys.argv[1])), ScoreRequest.model_validate_json(json.dumps(body))
    answer = score_request(bundle, request, wording=load_wording())
    print(json.dumps({"scores": len(answer.scores), "modules": sorted(sys.modules)}))
"""


def test_loaded_modules(bundle_folder: Path, tmp_path: Path) -> None:
    """A process that loaded the champion and scored a request holds neither MLflow nor lifetimes nor what learns."""
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CODE), str(bundle_folder)],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout.splitlines()[-1])
    assert told["scores"] == 1
    assert {"serving.service", "training.bundle", "training.models.lifecycle"} <= set(told["modules"])
    learning = tuple(f"{name}." for name in LEARNING)
    assert [name for name in told["modules"] if f"{name}.".startswith(learning)] == []
