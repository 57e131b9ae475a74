"""Segmentation of 3D scans whose modalities may be missing."""

from mmablate.models.volumes.output import Decoded, Segmented

__all__ = ["Decoded", "Segmented"]
