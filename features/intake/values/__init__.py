"""How values are written: texts, numbers, stamps, and rates between currencies."""
