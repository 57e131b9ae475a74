"""Pairs of a colour picture and a LiDAR depth map of one object each, in folders of their classes."""
