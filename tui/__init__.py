"""The dashboard behind `engine watch`."""
