"""VGGSound: what is heard and seen in ten seconds of a video."""
