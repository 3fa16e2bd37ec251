"""What goes over the wire: requests, answers and problems, with the examples of the OpenAPI document."""

from serving.schemas.lists import AtRiskPage, ListTotals, Prospect, ProspectPage, StageChange, StageChanges
from serving.schemas.maps import (
    LabelTotal,
    MetricRow,
    MetricSheet,
    ProspectEntry,
    SegmentCell,
    SegmentFlow,
    Segments,
    StageEntry,
    StageFlow,
    StageMap,
    UnseenStage,
)
from serving.schemas.problems import FieldProblem, Problem
from serving.schemas.requests import CustomerIn, EventIn, OrderIn, ScoreLines, ScoreOptions, ScoreRequest
from serving.schemas.runs import PublishedRun
from serving.schemas.scores import AtHorizon, NotScored, NotScoredLine, Score, ScoreReason, ScoreResponse
from serving.schemas.wire import MAX_AMOUNT, Named, ProspectStage, Size, Stage, Wire

__all__ = [
    "MAX_AMOUNT",
    "AtHorizon",
    "AtRiskPage",
    "CustomerIn",
    "EventIn",
    "FieldProblem",
    "LabelTotal",
    "ListTotals",
    "MetricRow",
    "MetricSheet",
    "Named",
    "NotScored",
    "NotScoredLine",
    "OrderIn",
    "Problem",
    "Prospect",
    "ProspectEntry",
    "ProspectPage",
    "ProspectStage",
    "PublishedRun",
    "Score",
    "ScoreLines",
    "ScoreOptions",
    "ScoreReason",
    "ScoreRequest",
    "ScoreResponse",
    "SegmentCell",
    "SegmentFlow",
    "Segments",
    "Size",
    "Stage",
    "StageChange",
    "StageChanges",
    "StageEntry",
    "StageFlow",
    "StageMap",
    "UnseenStage",
    "Wire",
]
