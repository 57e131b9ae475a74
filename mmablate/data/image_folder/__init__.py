"""Segmentation data of anybody's, read from image files in folders by the recipe alone."""
