"""Who may call, how often, and what they did: keys, rates, the audit log."""
