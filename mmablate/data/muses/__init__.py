"""MUSES: driving scenes by frame camera, event camera and LiDAR; its reader and its mini generator."""
