"""What makes a row an order, a refund or an event, and whose it is."""
