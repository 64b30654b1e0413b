"""Recipes: read, merged, explained."""
