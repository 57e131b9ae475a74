"""Update rules: how data, model and losses make one training step."""

from mmablate.methods.anymodal import AnymodalDistillation
from mmablate.methods.joint import JointTraining
from mmablate.methods.terms import Reference, SegmentationStep, Term, total

__all__ = ["AnymodalDistillation", "JointTraining", "Reference", "SegmentationStep", "Term", "total"]
