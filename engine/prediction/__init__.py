"""Trained models applied to photos, folders, videos and cameras, and what is made of what they find."""
