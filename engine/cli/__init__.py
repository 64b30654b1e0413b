"""What a person types; each command in its own module, with no logic of its own."""
