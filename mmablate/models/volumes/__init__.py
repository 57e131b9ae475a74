"""Segmentation of 3D scans whose modalities may be missing."""

from mmablate.models.volumes.output import Decoded, Segmented
from mmablate.models.volumes.segmentor import IncompleteSegmentor, incomplete_segmentor

__all__ = ["Decoded", "IncompleteSegmentor", "Segmented", "incomplete_segmentor"]
