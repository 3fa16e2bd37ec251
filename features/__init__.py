"""What was known at the cutoff: orders in, one row per customer out."""
