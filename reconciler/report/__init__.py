"""What people and programs are shown: views of plans, stores and results, and a renderer for each medium."""
