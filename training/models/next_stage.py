"""Next stage: where a customer stands at the end of the horizon, given that an order comes."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from features.lifecycle.stages import STAGES
from training.models.trees import Trees

Matrix = npt.NDArray[np.float64]

# What an order makes of whoever is neither silent nor just won back: the first that the stage rule allows.
_ACTIVE = [STAGES.index(stage) for stage in ("repeat", "loyal", "ambassador")]
_AMBASSADOR = len(_ACTIVE) - 1
# Whom a recommendation makes an ambassador without an order.
_CAN_RECOMMEND = np.isin(STAGES, ("first_time_buyer", "repeat", "loyal"))


@dataclass(frozen=True, slots=True)
class NextStageModel:
    """P(next stage | at least one order in the horizon).

    Args:
        transitions: Shape (n_stages, n_stages): row = stage at the cutoff, column = stage at the horizon's end, among
            those who ordered. Rows sum to 1. The Markov rung, and the answer where there are no trees.
        trees: Multiclass trees over `classes`, or None.
        classes: Positions in `STAGES` of the trees' classes.
        p_recommends: P(a first recommendation in the horizon | no order comes, still active at its end); 0 where the
            shop records none.
        temperature: Divides the trees' log-probabilities before they are normalised again (Guo et al. 2017, On
            calibration of modern neural networks, eq. 9).
        n_moves: How many moves from each stage were learned from, n_stages of them. One more observation is spread
            evenly over the stages that can be reached, so that none of them is impossible; empty where it is not.
    """

    transitions: Matrix
    trees: Trees | None = None
    classes: tuple[int, ...] = ()
    temperature: float = 1.0
    p_recommends: float = 0.0
    n_moves: tuple[int, ...] = ()

    def p_given_order(
        self, inputs: Matrix, stage_code: npt.NDArray[np.int64], is_reachable: npt.NDArray[np.bool_]
    ) -> Matrix:
        """Return P(stage at the horizon's end | an order comes), shape (n, n_stages); rows sum to 1.

        Args:
            inputs: Model matrix (see `model_inputs`).
            stage_code: Stage at the cutoff, shape (n,).
            is_reachable: Whether the stage rule allows the stage after an order, shape (n, n_stages).
        """
        if self.trees is None:
            p = self.transitions[stage_code]
        else:
            p = np.zeros((inputs.shape[0], len(STAGES)))
            p[:, list(self.classes)] = sharpen(self.trees.predict(inputs), self.temperature)
        p = _shared_out(p, is_reachable)
        p = p / p.sum(axis=1, keepdims=True)
        if not self.n_moves:
            return np.asarray(p)
        is_possible = is_reachable.copy()  # of an ambassador only where recommending is on record
        is_possible[:, _ACTIVE[_AMBASSADOR]] &= (self.p_recommends > 0.0) | (p[:, _ACTIVE[_AMBASSADOR]] > 0.0)
        evenly = is_possible / is_possible.sum(axis=1, keepdims=True)
        weight = self._even_weight(stage_code)[:, None]
        return np.asarray((1.0 - weight) * p + weight * evenly)

    def _even_weight(self, stage_code: npt.NDArray[np.int64]) -> Matrix:
        """Return the weight of one observation beside those learned from, (n,): 1 / (n + 2), for one is in already."""
        n = np.array(self.n_moves, dtype=np.float64)
        return 1.0 / (2.0 + (n[stage_code] if self.trees is None else np.full(stage_code.size, n.sum())))

    def p_recommends_if_silent(self, silent_code: npt.NDArray[np.int64]) -> Matrix:
        """Return P(a first recommendation in the horizon | no order comes), shape (n,).

        Args:
            silent_code: Stage at the horizon's end should neither come, shape (n,).
        """
        return np.where(_CAN_RECOMMEND[silent_code], self.p_recommends, 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return what is not trees as JSON values."""
        return {
            "transitions": self.transitions.tolist(),
            "classes": list(self.classes),
            "temperature": self.temperature,
            "p_recommends": self.p_recommends,
            "n_moves": list(self.n_moves),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], trees: Trees | None) -> Self:
        """Rebuild a model from `to_dict` and its trees.

        Raises:
            ValueError: If the trees do not answer for the classes, the moves are not counted by stage, or a table or
                parameter is out of range.
        """
        classes, n_moves = tuple(values["classes"]), tuple(int(n) for n in values.get("n_moves", ()))
        if trees is not None and (trees.n_outputs != len(classes) or not set(classes) <= set(range(len(STAGES)))):
            raise ValueError("the trees do not answer for these classes")
        if len(n_moves) not in {0, len(STAGES)} or min(n_moves, default=0) < 0:
            raise ValueError("there must be a number of moves from each stage")
        transitions, temperature, p_recommends = (
            np.array(values["transitions"]),
            values["temperature"],
            values["p_recommends"],
        )
        is_table = transitions.shape == (len(STAGES), len(STAGES)) and bool((transitions >= 0.0).all())
        is_table = is_table and np.allclose(transitions.sum(axis=1), 1.0, rtol=0.0, atol=1e-9)
        if not (is_table and temperature > 0.0 and 0.0 <= p_recommends <= 1.0):
            raise ValueError(
                "the moves are no table, the temperature is not above 0, or recommending has no probability"
            )
        return cls(transitions, trees, classes, temperature, p_recommends, n_moves)


def _shared_out(p: Matrix, is_reachable: npt.NDArray[np.bool_]) -> Matrix:
    """Leave out the stages that cannot be reached.

    Whoever has recommended is an ambassador where others are `repeat` or `loyal`, and so has the probability of all
    three. The same goes for the first active stage that a customer can reach where nobody learned from reached one.
    """
    allowed = np.where(is_reachable, p, 0.0)
    heir = np.argmax(is_reachable[:, _ACTIVE], axis=1)
    is_all = (heir == _AMBASSADOR) | (allowed[:, _ACTIVE].sum(axis=1) == 0.0)
    inherited = p[:, _ACTIVE].sum(axis=1)[:, None] * np.eye(len(_ACTIVE))[heir]
    allowed[:, _ACTIVE] = np.where(is_all[:, None], inherited, allowed[:, _ACTIVE])
    return np.asarray(allowed)


def sharpen(p: Matrix, temperature: float) -> Matrix:
    """Return p^(1/temperature), normalised by row."""
    powered = np.power(np.clip(p, 1e-12, 1.0), 1.0 / temperature)
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


def join_branches(
    p_churn: Matrix, silent_code: npt.NDArray[np.int64], p_given_order: Matrix, p_recommends: Matrix
) -> Matrix:
    """Return P(next stage), shape (n, n_stages): the silent branch from the rule, the other from the model.

    Args:
        p_churn: Probability of no order, shape (n,).
        silent_code: Stage at the horizon's end should no order come, shape (n,).
        p_given_order: P(stage | an order comes), shape (n, n_stages).
        p_recommends: P(a first recommendation makes an ambassador | no order comes), shape (n,).
    """
    joined = (1.0 - p_churn)[:, None] * p_given_order
    joined[np.arange(p_churn.size), silent_code] += p_churn * (1.0 - p_recommends)
    joined[:, _ACTIVE[_AMBASSADOR]] += p_churn * p_recommends
    return joined
