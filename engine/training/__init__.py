"""Training: the loop, optimizers, learning-rate schedules and checkpoints."""
