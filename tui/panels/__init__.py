"""What the dashboard can show of the night and of a run; one file a panel."""
