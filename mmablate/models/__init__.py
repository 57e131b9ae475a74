"""Models: plain modules with flat arguments."""

from mmablate.models.anymodal import AnymodalSegmentor, anymodal_segmentor

__all__ = ["AnymodalSegmentor", "anymodal_segmentor"]
