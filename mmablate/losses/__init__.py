"""Loss terms: pure functions of tensors, one module a term.

Symbols: sup (`cross_entropy`, `ohem_cross_entropy`), mad (`modality_agnostic_distillation`), umd
(`unimodal_distillation`), cmd (`cross_modal_distillation`) and fusion-first
(`fusion_first_distillation`); of classifiers kd (`knowledge_distillation`), and the terms of joint training. None
of them carries its weight (`joint_loss` is their sum); none modifies its arguments; all of them may run under
`torch.func.vmap` and `torch.func.grad`.
"""

from mmablate.losses.crossmodal import cross_modal_distillation
from mmablate.losses.distillation import modality_agnostic_distillation
from mmablate.losses.divergence import Features
from mmablate.losses.fusion_first import fusion_first_distillation
from mmablate.losses.knowledge import joint_loss, knowledge_distillation, logit_distance
from mmablate.losses.supervised import cross_entropy, ohem_cross_entropy
from mmablate.losses.unimodal import unimodal_distillation

__all__ = [
    "Features",
    "cross_entropy",
    "cross_modal_distillation",
    "fusion_first_distillation",
    "joint_loss",
    "knowledge_distillation",
    "logit_distance",
    "modality_agnostic_distillation",
    "ohem_cross_entropy",
    "unimodal_distillation",
]
