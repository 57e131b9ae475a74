"""Small synthetic sets in the layouts of CREMA-D, Kinetics-Sounds, VGGSound and AVE, with known parts of information.

What sound and picture tell of the class, each alone and both together, is chosen (see `Parts`) and stands in
SYNTHETIC.json in bits. Nothing was measured; the folders and the images say so.
"""

from __future__ import annotations

from mmablate.data.mini_clips.audiovisual.making import make_ave, make_cremad, make_kinetics_sounds, make_vggsound_av

__all__ = ["make_ave", "make_cremad", "make_kinetics_sounds", "make_vggsound_av"]
