"""Update rules: how data, model and losses make one training step."""

from mmablate.methods.anymodal import AnymodalDistillation
from mmablate.methods.crossmodal import CrossModalDistillation, JointPair
from mmablate.methods.fusing import Contrastive, FusingRule
from mmablate.methods.incomplete import IncompleteTraining
from mmablate.methods.joint import JointTraining
from mmablate.methods.metadrop import MetaDrop
from mmablate.methods.rules import Moment, UpdateRule, rule_of
from mmablate.methods.terms import Reference, Step, Term, total

__all__ = [
    "AnymodalDistillation",
    "Contrastive",
    "CrossModalDistillation",
    "FusingRule",
    "IncompleteTraining",
    "JointPair",
    "JointTraining",
    "MetaDrop",
    "Moment",
    "Reference",
    "Step",
    "Term",
    "UpdateRule",
    "rule_of",
    "total",
]
