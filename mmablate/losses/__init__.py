"""Loss terms: pure functions of tensors, one module a term.

Symbols: sup (`cross_entropy`, `ohem_cross_entropy`), mad (`modality_agnostic_distillation`), umd
(`unimodal_distillation`), cmd (`cross_modal_distillation`) and fusion-first
(`fusion_first_distillation`); of classifiers kd (`knowledge_distillation`), and the terms of joint training; of two
modalities `info_nce`, and the terms of a unique-information expert (`unique`). Of incomplete 3D scans fuse, uni
(`segmentation_loss`), PRM (`region_supervision`), pixel (`pixel_distillation`) and proto (`prototype_distillation`),
one value a row, and what weighs their modalities (`preference`). None of them carries its weight
(`joint_loss` is their sum); none modifies its arguments; all of them may run under `torch.func.vmap` and
`torch.func.grad`.
"""

from mmablate.losses.contrastive import info_nce
from mmablate.losses.crossmodal import cross_modal_distillation
from mmablate.losses.distillation import modality_agnostic_distillation
from mmablate.losses.divergence import Features
from mmablate.losses.fusion_first import fusion_first_distillation
from mmablate.losses.knowledge import joint_loss, knowledge_distillation, logit_distance
from mmablate.losses.preference import preference_gate, rebalanced, relative_preference
from mmablate.losses.prototypes import prototype_distance, prototype_distillation
from mmablate.losses.self_distillation import pixel_distillation
from mmablate.losses.supervised import cross_entropy, ohem_cross_entropy
from mmablate.losses.unimodal import unimodal_distillation
from mmablate.losses.unique import (
    gaussian_conditional_information,
    gaussian_information,
    redundancy,
    residual_cross_entropy,
    unique_cross_entropy,
)
from mmablate.losses.volumes import region_supervision, segmentation_loss, soft_dice, volume_cross_entropy

__all__ = [
    "Features",
    "cross_entropy",
    "cross_modal_distillation",
    "fusion_first_distillation",
    "gaussian_conditional_information",
    "gaussian_information",
    "info_nce",
    "joint_loss",
    "knowledge_distillation",
    "logit_distance",
    "modality_agnostic_distillation",
    "ohem_cross_entropy",
    "pixel_distillation",
    "preference_gate",
    "prototype_distance",
    "prototype_distillation",
    "rebalanced",
    "redundancy",
    "region_supervision",
    "relative_preference",
    "residual_cross_entropy",
    "segmentation_loss",
    "soft_dice",
    "unimodal_distillation",
    "unique_cross_entropy",
    "volume_cross_entropy",
]
