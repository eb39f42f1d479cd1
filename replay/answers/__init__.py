"""What was asked and found, as tables and pictures: what the command line and Python both show."""
