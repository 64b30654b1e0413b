"""The parts the screens are made of; each is given what it shows, and opens no files."""
