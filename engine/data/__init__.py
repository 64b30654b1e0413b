"""Datasets, transforms, order and loading of images."""
