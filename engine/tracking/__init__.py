"""Experiment trackers fed from a run's events: TensorBoard, MLflow, Weights & Biases.

A process of its own reads `events.jsonl` beside the training, as the dashboard does, so no tracker can slow, change
or end a run. `engine track` does the same for runs that are over.
"""
