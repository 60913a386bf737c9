"""What scripts/torture.py does to runs, one file for each kind of trouble."""
