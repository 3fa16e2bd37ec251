"""People's rights: to be erased, and to object."""
