"""Classifiers of several modalities: encoders, fusions of vectors and of maps, experts, contrastive pairs."""

from mmablate.models.fusion.classifier import Fused, MultimodalClassifier
from mmablate.models.fusion.contrastive import ContrastiveEncoders

__all__ = ["ContrastiveEncoders", "Fused", "MultimodalClassifier"]
