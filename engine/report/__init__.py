"""What is made of a run for people: plots."""
