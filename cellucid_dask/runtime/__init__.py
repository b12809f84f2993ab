"""Running tasks on whatever scheduler is active; nothing here knows what a gene is."""
