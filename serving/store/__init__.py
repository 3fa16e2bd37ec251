"""The score store: its tables, how it is opened, written and read."""
