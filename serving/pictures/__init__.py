"""Pictures for people: standalone SVG documents that need no script, no font and nothing from elsewhere."""
