"""The audio-visual sets of the literature on balanced multimodal learning, as classification data.

CREMA-D, Kinetics-Sounds, VGGSound and AVE in the layouts and list formats that the code of DGL and OGM-GE reads.
Modalities are `audio`, the log-magnitude spectrogram (1, frequencies, times) of a wav file, and `visual`, frames
(3, frames, height, width) of a folder of images or of a video file.

Departures from that code, for all sets: sound and pictures are paired by the clip's id, never by position; the part
of the sound that is read is the same one every time, in training as in test (it draws at random); frames are
evenly apart (it always takes the first ones of an unsorted folder); no clip of test is left out at the end of an
epoch; spectrograms are not refilled to a square by repetition.
"""
