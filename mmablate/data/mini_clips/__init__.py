"""Small synthetic sets of clips in the layouts of RAVDESS and VGGSound: one cause, seen and heard.

Every clip has a state of a few numbers that decide its class. Of these, sound and picture tell `SEEN` each; a
controllable part of them is the same for both (modality-general), the rest is told by one of them alone. Speakers
(or source videos) shift the state and colour what is seen and heard, so that a split which lets them leak is easier
than one which does not. Nothing was measured, and the folders and the images say so.
"""

from __future__ import annotations

from mmablate.data.mini_clips.ravdess import make_ravdess
from mmablate.data.mini_clips.vggsound import make_vggsound

__all__ = ["make_ravdess", "make_vggsound"]
