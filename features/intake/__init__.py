"""Reading files of orders into validated rows."""
