"""The features, one module a group: each declares its counts and what is made of them."""
