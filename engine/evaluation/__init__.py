"""Measuring a detector: AP and AR, validation loss, drawn predictions."""
