"""Doing what was planned: tasks, the reduce step, and the order in which files appear."""
